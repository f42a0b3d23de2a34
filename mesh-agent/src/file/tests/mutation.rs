//! Damaged configurations: never a panic, never an error without its place, never a field that is swallowed.

use super::{COMPLETE, decode};
use crate::decode::{self, Entry, Node, Problem, Value};
use crate::file::yaml;

/// What stands in here is nobody's.
const LABELS: &str = "filter_metadata";
/// Maps whose keys are the user's own.
const FREE_MAPS: [&str; 3] = ["labels", "policies", "typed_extension_protocol_options"];
/// The same.
const FREE: &str = ".node.metadata";

#[test]
fn a_stranger_in_any_message_is_reported() {
    for target in 0.. {
        let mut root = complete();
        let mut left = target;
        let stranger =
            Entry { key: "strangers_field".into(), position: None, value: Node { position: None, value: Value::Null } };
        let mut path = String::new();
        let found = visit(&mut root, "", &mut |place, value| {
            let Value::Map(entries) = value else { return false };
            if FREE_MAPS.iter().any(|free| place.ends_with(free)) || place.contains(LABELS) || place.starts_with(FREE) {
                return false;
            }
            if left == 0 {
                entries.push(stranger.clone());
                place.clone_into(&mut path);
                return true;
            }
            left -= 1;
            false
        });
        if !found {
            assert!(target > 100, "the sample has many messages");
            return;
        }
        let errors = decode::bootstrap(&root).errors;
        let [error] = errors.as_slice() else { panic!("{path}: {errors:?}") };
        assert!(matches!(error.problem, Problem::Unknown { .. }), "{path}: {error}");
        assert!(error.place.path.ends_with("strangers_field"), "{path}: {error}");
    }
}

#[test]
fn a_wrong_value_anywhere_is_reported_and_hides_no_supported_field() {
    let wrong = Value::List(vec![Node { position: None, value: Value::List(Vec::new()) }]);
    for target in 1.. {
        let mut root = complete();
        let mut left = target;
        let mut path = String::new();
        let found = visit(&mut root, "", &mut |place, value| {
            if is_label(place) || (place.starts_with(FREE) && place != FREE) {
                return false;
            }
            if left == 0 {
                *value = wrong.clone();
                place.clone_into(&mut path);
                return true;
            }
            left -= 1;
            false
        });
        if !found {
            assert!(target > 300, "the sample has many values");
            return;
        }
        let errors = decode::bootstrap(&root).errors;
        assert!(!errors.is_empty(), "{path}");
        let unknown = errors.iter().find(|error| matches!(error.problem, Problem::Unknown { .. }));
        assert!(unknown.is_none(), "{path}: {unknown:?}");
    }
}

#[test]
fn damaged_text_never_panics() {
    const PIECES: [&str; 24] = [
        "",
        " ",
        "\n",
        "  ",
        "- ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&a ",
        "*a",
        "!x ",
        "\"",
        "'",
        "#",
        "|",
        ">",
        "? ",
        "~",
        "-1",
        "99999999999999999999",
        "\u{feff}",
    ];
    let mut random = Random(0x5eed);
    for _ in 0..400 {
        let mut text = COMPLETE.to_owned();
        for _ in 0..=random.below(4) {
            let from = boundary(&text, random.below(text.len()));
            let reach = if random.below(3) == 0 { 200 } else { 3 };
            let to = boundary(&text, (from + random.below(reach)).min(text.len()));
            let piece = match random.below(3) {
                0 => text[boundary(&text, random.below(text.len()))..].lines().next().unwrap_or_default().to_owned(),
                _ => PIECES[random.below(PIECES.len())].to_owned(),
            };
            text.replace_range(from..to, &piece);
        }
        if let Err(printed) = decode(&text) {
            for line in printed.lines() {
                assert!(line.starts_with("f:") && line.chars().all(|c| !c.is_control()), "{line:?}");
            }
        }
    }
}

/// Whether this is inside the labels of some filter, which may be anything.
fn is_label(place: &str) -> bool {
    place.split_once(LABELS).is_some_and(|(_, filter)| filter.matches(['.', '[']).count() > 1)
}

fn complete() -> Node {
    // Without the wildcards, whose compilation would be most of the time of hundreds of decodings.
    yaml::parse(&COMPLETE.replace(".*", "").replace("[0-9]+", "0")).0.unwrap()
}

/// Calls `change` with each value and its path until it answers true.
fn visit(node: &mut Node, path: &str, change: &mut dyn FnMut(&str, &mut Value) -> bool) -> bool {
    if change(path, &mut node.value) {
        return true;
    }
    match &mut node.value {
        Value::List(items) => {
            items.iter_mut().enumerate().any(|(index, item)| visit(item, &format!("{path}[{index}]"), change))
        }
        Value::Map(entries) => {
            entries.iter_mut().any(|entry| visit(&mut entry.value, &format!("{path}.{}", entry.key), change))
        }
        _ => false,
    }
}

fn boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Marsaglia's xorshift: the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap()
    }
}
