//! Messages that proto3's JSON form writes in a way of their own: numbers that know whether they are set, durations, free-form
//! structures, and `Any`.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::decode::{Entry, Path, Problem, Value};
use crate::protobuf::read::{Context, node};
use crate::protobuf::table::{MessageId, table};

/// The tree of a message with a form of its own. `None`: it has none.
pub(crate) fn read(context: &mut Context, id: MessageId, bytes: &[u8], path: Path<'_>) -> Option<Value> {
    let name = table().message(id).name.strip_prefix("google.protobuf.")?;
    match name {
        "BoolValue" | "DoubleValue" | "StringValue" | "UInt32Value" | "UInt64Value" => {
            let field = table().message(id).field(1)?;
            let value = take(context.fields(id, bytes, path), field.name);
            Some(value.unwrap_or_else(|| zero(name)))
        }
        "Duration" => Some(duration(context, id, bytes, path)),
        "Struct" => Some(take(context.fields(id, bytes, path), "fields").unwrap_or(Value::Map(Vec::new()))),
        "ListValue" => Some(take(context.fields(id, bytes, path), "values").unwrap_or(Value::List(Vec::new()))),
        "Value" => Some(one_value(context.fields(id, bytes, path))),
        "Any" => Some(any(context, id, bytes, path)),
        _ => None,
    }
}

/// Bytes as text.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The message inside an `Any`, with its type beside its fields. One that the table doesn't have is its type alone: no decoder
/// reads it, and it is refused by that name.
fn any(context: &mut Context, id: MessageId, bytes: &[u8], path: Path<'_>) -> Value {
    let mut fields = context.raw(id, bytes, path);
    let mut text = |number: u32| fields.remove(&number).unwrap_or_default();
    let (url, value) = (text(1), text(2));
    let Ok(url) = str::from_utf8(url) else {
        return context.broken(path, Problem::Wire("is not UTF-8"));
    };
    let kind = Entry { key: "@type".into(), position: None, value: node(Value::Text(url.to_owned())) };
    let mut entries = vec![kind];
    if let Some(inner) = table().find(url.rsplit('/').next().unwrap_or_default()) {
        match context.message(inner, value, path) {
            Value::Map(fields) => entries.extend(fields),
            other => entries.push(Entry { key: "value".into(), position: None, value: node(other) }),
        }
    }
    Value::Map(entries)
}

/// `1.5s`. Signs must agree, as protobuf demands; whether a negative one makes sense is the decoder's question.
fn duration(context: &mut Context, id: MessageId, bytes: &[u8], path: Path<'_>) -> Value {
    let (mut seconds, mut nanos) = (0i128, 0i128);
    for Entry { key, value, .. } in context.fields(id, bytes, path) {
        if let Value::Int(number) = value.value {
            *(if key == "seconds" { &mut seconds } else { &mut nanos }) = number;
        }
    }
    if nanos.abs() >= 1_000_000_000 || (seconds.signum() * nanos.signum() < 0) {
        return context.broken(path, Problem::Wire("is not a duration"));
    }
    let mut text = String::new();
    if seconds < 0 || nanos < 0 {
        text.push('-');
    }
    let _ = write!(text, "{}", seconds.abs());
    if nanos != 0 {
        let _ = write!(text, ".{:09}", nanos.abs());
    }
    text.push('s');
    Value::Text(text)
}

/// `google.protobuf.Value`: whichever of its alternatives is set, as itself.
fn one_value(fields: Vec<Entry>) -> Value {
    match fields.into_iter().next_back() {
        Some(entry) if entry.key != "null_value" => entry.value.value,
        _ => Value::Null,
    }
}

fn take(fields: Vec<Entry>, name: &str) -> Option<Value> {
    fields.into_iter().find(|entry| entry.key == name).map(|entry| entry.value.value)
}

/// What an empty wrapper holds.
fn zero(name: &str) -> Value {
    match name {
        "BoolValue" => Value::Bool(false),
        "StringValue" => Value::Text(String::new()),
        _ => Value::Int(0),
    }
}
