//! A folder of what is kept, as an agent finds it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::time::Duration;

use super::Keeper;
use super::journal::tests::Folder;
use crate::model::resource::ResourceKind;
use crate::xds::session::Incoming;

const KIND: ResourceKind = ResourceKind::Cluster;

fn incoming(name: &str) -> Incoming {
    Incoming { name: name.into(), version: "v".into(), body: name.as_bytes().to_vec().into() }
}

fn names(keeper: &mut Keeper, kind: ResourceKind) -> Vec<String> {
    keeper.read(kind, |_| true).iter().map(|it| it.name.to_string()).collect()
}

fn keep(folder: &Folder, kind: ResourceKind, resources: &[&str]) {
    let mut keeper = Keeper::open(&folder.0);
    keeper.answers("s", Duration::ZERO);
    resources.iter().for_each(|name| keeper.put(kind, incoming(name)));
    keeper.flush();
    assert_eq!(keeper.standing().failure, None);
}

#[test]
fn what_one_agent_kept_the_next_one_finds() {
    let parent = Folder::new();
    let folder = Folder(parent.0.join("made/for/it"));
    keep(&folder, KIND, &["a", "b"]);
    assert_eq!(fs::metadata(&folder.0).unwrap().permissions().mode() & 0o777, 0o700);
    let mut keeper = Keeper::open(&folder.0);
    assert!(!keeper.is_empty() && names(&mut keeper, ResourceKind::Route).is_empty());
    assert_eq!((names(&mut keeper, KIND), keeper.origin().1), (vec!["a".into(), "b".into()], "s".into()));
    assert!(keeper.origin().0.elapsed().unwrap() < Duration::from_secs(60));
    assert_eq!(keeper.read(KIND, |name| &**name == "a"), [incoming("a")]);
}

#[test]
fn what_is_not_heard_of_again_is_forgotten_in_time() {
    let folder = Folder::new();
    keep(&folder, KIND, &["a", "b", "c", "d"]);
    let mut keeper = Keeper::open(&folder.0);
    keeper.put(KIND, incoming("a"));
    keeper.confirm(KIND, &"b".into());
    keeper.flush();
    assert_eq!((names(&mut keeper, KIND).len(), keeper.deadline()), (4, None), "nobody has answered");
    keeper.forget_old(Some(ResourceKind::Listener), |_| false);
    keeper.forget_old(Some(KIND), |name| &**name == "d");
    assert_eq!(keeper.standing().resources, 3);
    keeper.answers("s", Duration::ZERO);
    assert!(keeper.deadline().is_some());
    keeper.flush();
    drop(keeper);
    assert_eq!(names(&mut Keeper::open(&folder.0), KIND), ["a", "b"]);
}

#[test]
fn secrets_are_left_out() {
    let folder = Folder::new();
    keep(&folder, ResourceKind::Secret, &["s"]);
    assert!(Keeper::open(&folder.0).is_empty());
}

#[test]
fn a_private_key_is_not_on_disk_wherever_it_stands() {
    let folder = Folder::new();
    keep(&folder, KIND, &["a", "b"]);
    let mut keeper = Keeper::open(&folder.0);
    let key = "-----BEGIN EC PRIVATE KEY-----\nTOPSECRET\n-----END EC PRIVATE KEY-----\n";
    keeper.put(KIND, Incoming { body: format!("\x0a\x01a{key}").into(), ..incoming("a") });
    keeper.put(KIND, Incoming { body: "-----BEGIN CERTIFICATE-----".into(), ..incoming("b") });
    keeper.flush();
    drop(keeper);
    let bytes = fs::read(folder.0.join("00000001.journal")).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("TOPSECRET"));
    assert_eq!(names(&mut Keeper::open(&folder.0), KIND), ["b"], "nor is one without it, which is older");
}

#[test]
fn whatever_is_wrong_with_the_folder_is_told_and_stops_nobody() {
    let folder = Folder::new();
    keep(&folder, KIND, &["a"]);
    let first = Keeper::open(&folder.0);
    let mut second = Keeper::open(&folder.0);
    assert!(second.standing().failure.is_some_and(|why| why.contains("another agent keeps its own there")));
    second.put(KIND, incoming("b"));
    second.flush();
    assert!(second.is_empty());
    drop((first, second));

    let path = folder.0.join("00000001.journal");
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, bytes).unwrap();
    let keeper = Keeper::open(&folder.0);
    assert_eq!((keeper.is_empty(), keeper.standing().failure), (true, None), "it begins anew");
    assert!(folder.0.join("00000001.damaged").exists());
    drop(keeper);

    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o777)).unwrap();
    let failure = Keeper::open(&folder.0).standing().failure;
    assert!(failure.is_some_and(|why| why.contains("others may write there")));
    let file = folder.0.join("file");
    fs::write(&file, "").unwrap();
    assert!(Keeper::open(&file.join("folder")).standing().failure.is_some());
}

#[test]
fn a_folder_of_another_user_is_not_used_and_links_are_not_followed() {
    let folder = Folder::new();
    // Who may not give it away has no say in `/` either.
    let other = chown(&folder.0, Some(65534), None).map_or("/".as_ref(), |()| folder.0.as_path());
    let failure = Keeper::open(other).standing().failure;
    assert!(failure.is_some_and(|why| why.contains("belongs to user")));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0, "nothing is written there");

    let (folder, target) = (Folder::new(), Folder::new());
    keep(&target, KIND, &["a"]);
    for file in ["lock", "00000001.journal"] {
        let link = folder.0.join(file);
        symlink(target.0.join(file), &link).unwrap();
        let keeper = Keeper::open(&folder.0);
        assert!(keeper.is_empty() && keeper.standing().failure.is_some_and(|why| why.contains(file)), "{file}");
        fs::remove_file(link).unwrap();
    }
}

#[test]
fn what_is_damaged_while_it_is_used_is_set_aside_and_nothing_of_it_is_used() {
    let folder = Folder::new();
    keep(&folder, KIND, &["a", "b"]);
    let mut keeper = Keeper::open(&folder.0);
    let path = folder.0.join("00000001.journal");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(names(&mut keeper, KIND).is_empty() && keeper.is_empty());
    assert!(keeper.standing().failure.is_some_and(|why| why.contains("nothing more is kept by this agent")));
    assert!(folder.0.join("00000001.damaged").exists());
}
