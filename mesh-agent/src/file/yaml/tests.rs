//! Scalars, and the limits that keep a small text from becoming a large tree.

use super::{parse, resolve};
use crate::decode::{Node, Value};

fn problems(text: &str) -> Vec<String> {
    parse(text).1.iter().map(ToString::to_string).collect()
}

#[test]
fn scalars_by_the_core_schema() {
    let text = |text: &str| Value::Text(text.to_owned());
    for (plain, expected) in [
        ("~", Value::Null),
        ("", Value::Null),
        ("true", Value::Bool(true)),
        ("False", Value::Bool(false)),
        ("yes", text("yes")),
        ("off", text("off")),
        ("12", Value::Int(12)),
        ("-12", Value::Int(-12)),
        ("0x1F", Value::Int(31)),
        ("0o17", Value::Int(15)),
        ("0100", Value::Int(100)),
        ("1.5", Value::Float(1.5)),
        ("1e3", Value::Float(1000.0)),
        (".5", Value::Float(0.5)),
        ("10.0.0.1", text("10.0.0.1")),
        ("inf", text("inf")),
        ("nan", text("nan")),
        ("-", text("-")),
        ("e5", text("e5")),
        ("1s", text("1s")),
    ] {
        assert_eq!(resolve(plain), expected, "{plain:?}");
    }
}

#[test]
fn quotes_and_tags_make_text() {
    for text in ["'12'", "\"12\"", "!!str 12"] {
        assert_eq!(parse(text).0.map(|node| node.value), Some(Value::Text("12".to_owned())), "{text}");
    }
}

#[test]
fn an_alias_is_a_copy_at_its_own_place() {
    let (root, problems) = parse("a: &x\n- 1\nb: *x\n");
    assert!(problems.is_empty());
    let Some(Node { value: Value::Map(entries), .. }) = root else { panic!("a map") };
    assert_eq!(entries[0].value.value, entries[1].value.value);
    assert_eq!(entries[1].value.position.map(|position| position.line), Some(3));
}

#[test]
fn depth_is_bounded() {
    assert!(problems(&("[".repeat(100) + &"]".repeat(100))).is_empty());
    let deep = problems(&("[".repeat(101) + &"]".repeat(101)));
    assert!(deep[0].ends_with("too deep: the limit is 100 levels"), "{deep:?}");
    let block: String = (0..101).map(|level| " ".repeat(level) + "a:\n").collect();
    assert!(problems(&block)[0].ends_with("too deep: the limit is 100 levels"));
}

#[test]
fn copies_are_bounded() {
    // Each line holds nine of the line before it: 9^12 values.
    let mut text = "a0: &a0 [x]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", vec![below; 9].join(", "));
    }
    let problems = problems(&text);
    assert!(problems[0].ends_with("too large: the limit is 256 MiB in memory with all aliases copied"), "{problems:?}");
}

#[test]
fn repeated_keys_are_each_reported_and_bounded() {
    let text = "k: 1\n".repeat(5000);
    assert_eq!(problems(&text).len(), crate::decode::MAX_ERRORS);
    assert_eq!(
        problems("a: 1\nb: 2\na: 3\na: 4\n"),
        ["3:1: a: set twice; first at 1:1", "4:1: a: set twice; first at 1:1"]
    );
}
