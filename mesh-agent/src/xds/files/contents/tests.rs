//! One file and its versions: what each of them changes.

use std::time::{Duration, Instant};

use super::File;
use crate::model::resource::{Contents, Entry, ResourceKind};
use crate::xds::delivery::News;
use crate::xds::session::{Fault, MOST_REFUSED};

/// `name=content`; content `bad` is none, and a name that is missing cannot be read.
fn contents(version: &str, resources: &[&str]) -> Result<Contents<String>, String> {
    let entry = |text: &&str| {
        let (name, content) = text.split_once('=').unwrap();
        let resource = if content == "bad" { Err(format!("{name} is bad")) } else { Ok(content.to_owned()) };
        Entry { name: (!name.is_empty()).then(|| name.into()), resource }
    };
    Ok(Contents { version: version.to_owned(), resources: resources.iter().map(entry).collect() })
}

/// What a version changes, taken as it is: changed, gone, refused.
fn take(file: &mut File<String>, kind: ResourceKind, resources: &[&str]) -> Option<[Vec<String>; 3]> {
    let news = file.take(kind, contents("1", resources))?;
    file.judged(&[]);
    let News::Update { changed, removed, refused, .. } = news else { panic!("{news:?}") };
    let names = |names: Vec<std::sync::Arc<str>>| names.iter().map(ToString::to_string).collect();
    Some([changed.into_iter().map(|(name, _)| name.to_string()).collect(), names(removed), names(refused)])
}

fn words(words: [&[&str]; 3]) -> Option<[Vec<String>; 3]> {
    Some(words.map(|words| words.iter().map(ToString::to_string).collect()))
}

#[test]
fn what_changed_is_said_and_nothing_else() {
    let mut file = File::new(None);
    file.want_all();
    let kind = ResourceKind::Listener;
    assert_eq!(take(&mut file, kind, &[]), words([&[], &[], &[]]), "the first version is news even if it is empty");
    assert_eq!(take(&mut file, kind, &["a=1", "b=1"]), words([&["a", "b"], &[], &[]]));
    assert_eq!(take(&mut file, kind, &["a=1", "b=1"]), None);
    assert_eq!(take(&mut file, kind, &["b=2"]), words([&["b"], &["a"], &[]]));
    assert_eq!(take(&mut file, kind, &["a=1", "b=bad"]), words([&["a"], &[], &["b"]]), "what is refused is not gone");
    assert_eq!(take(&mut file, kind, &["=bad"]), None, "anything could be meant");
    assert_eq!((file.standing.held, file.standing.refused), (2, 2));
    assert_eq!(take(&mut file, kind, &["a=2", "a=3", "b=2"]), words([&[], &[], &["a"]]));
    assert_eq!(file.standing.refusal.as_deref(), Some("\"a\" stands more than once in the file"));
    assert!(file.take(kind, Err("no YAML".to_owned())).is_none());
    assert_eq!((file.standing.held, file.standing.refusal.as_deref()), (2, Some("no YAML")));
    assert_eq!(take(&mut file, kind, &["a=1", "b=2"]), None);
    assert_eq!((file.standing.updates, file.standing.refusal.as_deref()), (9, None));
}

#[test]
fn clusters_go_when_it_is_their_turn() {
    let mut file = File::new(None);
    file.want_all();
    take(&mut file, ResourceKind::Cluster, &["a=1", "b=1"]);
    assert_eq!(take(&mut file, ResourceKind::Cluster, &["b=1", "c=1"]), words([&["c"], &[], &[]]));
    assert!(file.has_gone() && file.standing.held == 3);
    // Unless it is back before that.
    take(&mut file, ResourceKind::Cluster, &["a=1", "b=1"]);
    assert_eq!(file.let_go().iter().map(|name| &**name).collect::<Vec<_>>(), ["c"]);
    assert!(!file.has_gone() && file.standing.held == 2);
}

#[test]
fn what_cannot_go_live_is_offered_again_and_what_was_live_is_not_gone() {
    let mut file = File::new(None);
    file.want_all();
    let kind = ResourceKind::Listener;
    take(&mut file, kind, &["a=1"]);
    assert!(file.take(kind, contents("2", &["a=2"])).is_some());
    file.judged(&[Fault { name: Some("a".into()), text: "taken".to_owned() }]);
    assert_eq!((file.standing.refusal.as_deref(), file.standing.refused), (Some("taken"), 1));
    let (_, known) = file.known().next().unwrap();
    assert_eq!(known.accepted.map(|it| it.version), Some("1".into()));
    assert_eq!(known.refused.map(|it| (it.version, it.reason)), Some(("2".into(), "taken".into())));
    assert_eq!(take(&mut file, kind, &["a=2"]), words([&["a"], &[], &[]]));
}

#[test]
fn by_name_only_those_count_and_absence_deletes_nothing() {
    let mut file = File::new(None);
    let kind = ResourceKind::Endpoints;
    file.want("a".into(), Some(Duration::from_secs(1)));
    file.want("b".into(), Some(Duration::from_secs(1)));
    assert_eq!(take(&mut file, kind, &["a=1", "x=1", "y=bad"]), words([&["a"], &[], &[]]));
    let later = Instant::now() + Duration::from_secs(2);
    assert!(file.deadline().is_some_and(|at| at < later));
    assert_eq!(file.overdue(later).iter().map(|name| &**name).collect::<Vec<_>>(), ["b"]);
    assert_eq!((file.deadline(), file.overdue(later).len()), (None, 0), "it is said once");
    assert_eq!(take(&mut file, kind, &["b=1"]), words([&["b"], &[], &[]]));
    assert_eq!(file.standing.held, 2);
    file.forget("a");
    assert!(file.is_wanted());
    assert_eq!(take(&mut file, kind, &["a=1", "b=1"]), None);
    file.forget("b");
    assert!(!file.is_wanted() && file.standing.held == 0);
}

#[test]
fn only_so_many_refusals_are_remembered() {
    let mut file = File::new(None);
    file.want_all();
    let kind = ResourceKind::Listener;
    let bad: Vec<_> = (0..2 * MOST_REFUSED).map(|number| format!("{number}=bad")).collect();
    let bad: Vec<_> = bad.iter().map(String::as_str).collect();
    take(&mut file, kind, &bad);
    assert_eq!((file.known().count(), file.standing.refused), (MOST_REFUSED, 1));
    take(&mut file, kind, &["a=bad"]);
    assert_eq!(file.known().count(), 1, "those of the last version");
}
