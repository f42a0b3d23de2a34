//! The reference of supported fields, recorded while the decoders run over a configuration that uses all of them.
//!
//! Only tests record. What comes out is `docs/config-reference.md`, and the list of fields that the configuration lacks.

use std::cell::RefCell;
use std::fmt::Write as _;

use crate::decode::kind::{Kind, short};

/// A message's name and its fields, in the order they were first asked for.
type Message = (&'static str, Vec<Field>);

#[derive(Debug)]
struct Field {
    name: &'static str,
    kind: Kind,
    was_set: bool,
}

thread_local! {
    static RECORDED: RefCell<Vec<Message>> = const { RefCell::new(Vec::new()) };
}

/// Notes that a decoder of `message` asked for a field.
pub(crate) fn record(message: &'static str, name: &'static str, kind: &Kind, is_set: bool) {
    RECORDED.with_borrow_mut(|messages| {
        let index = messages.iter().position(|(known, _)| *known == message).unwrap_or_else(|| {
            messages.push((message, Vec::new()));
            messages.len() - 1
        });
        let fields = &mut messages[index].1;
        match fields.iter_mut().find(|field| field.name == name) {
            Some(field) => field.was_set |= is_set,
            None => fields.push(Field { name, kind: kind.clone(), was_set: is_set }),
        }
    });
}

/// Forgets what this thread recorded.
pub(crate) fn clear() {
    RECORDED.take();
}

/// Fields that are supported and were never set, as `Message.field`.
pub(crate) fn never_set() -> Vec<String> {
    RECORDED.with_borrow(|messages| {
        let all = messages.iter().flat_map(|(message, fields)| fields.iter().map(move |field| (message, field)));
        let unset = all.filter(|(_, field)| !field.was_set && !matches!(field.kind, Kind::Refused(_)));
        unset.map(|(message, field)| format!("{}.{}", short(message), field.name)).collect()
    })
}

/// What was recorded, as Markdown.
pub(crate) fn markdown() -> String {
    let mut text = String::new();
    RECORDED.with_borrow(|messages| {
        for (name, fields) in messages {
            let _ = writeln!(text, "### {name}\n");
            let (refused, supported): (Vec<_>, Vec<_>) =
                fields.iter().partition(|field| matches!(field.kind, Kind::Refused(_)));
            if supported.is_empty() {
                let _ = writeln!(text, "No field is supported.\n");
            } else {
                let _ = writeln!(text, "| field | value |\n| --- | --- |");
                for Field { name, kind, .. } in supported {
                    let _ = writeln!(text, "| `{name}` | {} |", describe(kind, messages));
                }
                text.push('\n');
            }
            for Field { name, kind, .. } in refused {
                let Kind::Refused(why) = kind else { continue };
                let _ = writeln!(text, "- `{name}` is refused: {why}.");
            }
            if fields.iter().any(|field| matches!(field.kind, Kind::Refused(_))) {
                text.push('\n');
            }
        }
    });
    text.trim_end().to_owned() + "\n"
}

fn describe(kind: &Kind, messages: &[Message]) -> String {
    match kind {
        Kind::Message(name) => link(name, messages),
        Kind::List(of) => format!("list of {}", describe(of, messages)),
        Kind::Map(of) => format!("map with free names, of {}", describe(of, messages)),
        Kind::Any(names) => {
            let names: Vec<_> = names.iter().map(|name| link(name, messages)).collect();
            format!("`@type` {}", names.join(" or "))
        }
        Kind::Choice(names) => {
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            names.join(", ")
        }
        Kind::Only(value) => format!("only `{value}`, as the agent behaves"),
        plain => plain.to_string(),
    }
}

/// A link to the message's own table, or its name if it has no fields.
fn link(name: &str, messages: &[Message]) -> String {
    if messages.iter().any(|(known, _)| *known == name) {
        format!("[{}](#{})", short(name), name.replace('.', "").replace(' ', "-").to_ascii_lowercase())
    } else {
        format!("`{name}` (no field is supported)")
    }
}
