//! A message in proto3's JSON form to its bytes, by the same table: for those who ask in protobuf what `/config_dump` shows in JSON.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::protobuf::table::{Field, Kind, MessageId, Scalar, Shape, table};
use crate::protobuf::wire::Writer;

/// Why a value is no message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// There is no such message.
    #[error("no message is called {0:?}")]
    NoMessage(String),
    /// A message has no such field.
    #[error("{message} has no field {field:?}")]
    NoField {
        /// The message.
        message: &'static str,
        /// What it lacks.
        field: String,
    },
    /// A value is of another kind.
    #[error("{0} does not fit its field")]
    NoFit(String),
}

/// The bytes of the message `name` (full) that `value` describes.
///
/// # Errors
/// If it describes no such message.
pub fn write(name: &str, value: &Value) -> Result<Vec<u8>, WriteError> {
    let id = table().find(name).ok_or_else(|| WriteError::NoMessage(name.to_owned()))?;
    message(id, value)
}

fn message(id: MessageId, value: &Value) -> Result<Vec<u8>, WriteError> {
    let mut bytes = Writer::default();
    match (table().message(id).name, value) {
        ("google.protobuf.Duration", Value::String(text)) => duration(&mut bytes, text)?,
        ("google.protobuf.Any", Value::Object(fields)) => any(&mut bytes, fields)?,
        ("google.protobuf.Struct", value) => named(&mut bytes, id, "fields", value)?,
        ("google.protobuf.ListValue", value) => named(&mut bytes, id, "values", value)?,
        ("google.protobuf.Value", value) => named(&mut bytes, id, alternative(value), value)?,
        (_, Value::Object(fields)) => {
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                named(&mut bytes, id, name, value)?;
            }
        }
        // A number, text or flag that knows whether it is set.
        (_, value) => named(&mut bytes, id, "value", value)?,
    }
    Ok(bytes.0)
}

/// Which of its alternatives a `google.protobuf.Value` is.
fn alternative(value: &Value) -> &'static str {
    match value {
        Value::Null => "null_value",
        Value::Bool(_) => "bool_value",
        Value::Number(_) => "number_value",
        Value::String(_) => "string_value",
        Value::Array(_) => "list_value",
        Value::Object(_) => "struct_value",
    }
}

fn duration(bytes: &mut Writer, text: &str) -> Result<(), WriteError> {
    let (negative, number) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let number = number.strip_suffix('s').and_then(|number| {
        let (seconds, fraction) = number.split_once('.').unwrap_or((number, ""));
        let nanos = format!("{fraction:0<9}");
        let nanos = (nanos.len() == 9).then(|| nanos.parse().ok()).flatten().filter(|nanos| *nanos < 1_000_000_000)?;
        Some(Duration::new(seconds.parse().ok()?, nanos))
    });
    let duration = number.ok_or_else(|| WriteError::NoFit(text.to_owned()))?;
    let sign = if negative { -1 } else { 1 };
    let seconds = i64::try_from(duration.as_secs()).map_err(|_| WriteError::NoFit(text.to_owned()))?;
    bytes.number(1, (sign * seconds).cast_unsigned());
    bytes.number(2, (sign * i64::from(duration.subsec_nanos())).cast_unsigned());
    Ok(())
}

/// The type, and the message that stands beside it. A type that the table doesn't have stays without.
fn any(bytes: &mut Writer, fields: &Map<String, Value>) -> Result<(), WriteError> {
    let Some(Value::String(url)) = fields.get("@type") else {
        return Err(WriteError::NoField { message: "google.protobuf.Any", field: "@type".to_owned() });
    };
    bytes.bytes(1, url.as_bytes());
    let Some(id) = table().find(url.rsplit('/').next().unwrap_or_default()) else { return Ok(()) };
    let inner = match fields.get("value") {
        // What has a form of its own in JSON stands under this name.
        Some(value) if fields.len() == 2 && table().message(id).name.starts_with("google.protobuf.") => {
            message(id, value)?
        }
        _ => message(
            id,
            &fields.iter().filter(|(key, _)| *key != "@type").map(|(k, v)| (k.clone(), v.clone())).collect(),
        )?,
    };
    bytes.bytes(2, &inner);
    Ok(())
}

fn named(bytes: &mut Writer, id: MessageId, name: &str, value: &Value) -> Result<(), WriteError> {
    let message = table().message(id);
    // Both spellings are JSON's.
    let is_it = |field: &&Field| field.name == name || same_but_camel(field.name, name);
    let no_field = || WriteError::NoField { message: message.name, field: name.to_owned() };
    let field = message.fields.iter().find(is_it).ok_or_else(no_field)?;
    match (field.shape, value) {
        (Shape::Repeated, Value::Array(items)) => items.iter().try_for_each(|item| one(bytes, field, item)),
        (Shape::Map(key), Value::Object(entries)) => entries.iter().try_for_each(|(name, value)| {
            let mut entry = Writer::default();
            scalar(&mut entry, 1, key, &Value::String(name.clone()))?;
            one(&mut entry, &Field { number: 2, ..*field }, value)?;
            bytes.bytes(field.number, &entry.0);
            Ok(())
        }),
        (Shape::Plain | Shape::Present, value) => one(bytes, field, value),
        (Shape::Repeated | Shape::Map(_), value) => Err(no_fit(value)),
    }
}

fn one(bytes: &mut Writer, field: &Field, value: &Value) -> Result<(), WriteError> {
    match (field.kind, value) {
        (Kind::Message(id), value) => bytes.bytes(field.number, &message(id, value)?),
        (Kind::Enum(id), Value::String(name)) => {
            let number = table().value_number(id, name).ok_or_else(|| no_fit(value))?;
            bytes.number(field.number, i64::from(number).cast_unsigned());
        }
        // Also `google.protobuf.NullValue`.
        (Kind::Enum(_), value) => {
            bytes.number(field.number, value.as_i64().unwrap_or_default().cast_unsigned());
        }
        (Kind::Scalar(kind), value) => scalar(bytes, field.number, kind, value)?,
    }
    Ok(())
}

/// A scalar. Numbers and flags may be written as text, as JSON does with 64 bits and keys.
fn scalar(bytes: &mut Writer, number: u32, kind: Scalar, value: &Value) -> Result<(), WriteError> {
    let text = value.as_str();
    let signed = || value.as_i64().or_else(|| text?.parse().ok());
    let unsigned = || value.as_u64().or_else(|| text?.parse().ok());
    let float = || value.as_f64().or_else(|| text?.parse().ok());
    let fits = || no_fit(value);
    match kind {
        Scalar::String => bytes.bytes(number, text.ok_or_else(fits)?.as_bytes()),
        Scalar::Bytes => {
            let decoded = text.and_then(|text| STANDARD.decode(text).ok()).ok_or_else(fits)?;
            bytes.bytes(number, &decoded);
        }
        Scalar::Bool => {
            let flag = value.as_bool().or_else(|| text?.parse().ok()).ok_or_else(fits)?;
            bytes.number(number, u64::from(flag));
        }
        Scalar::Int32 | Scalar::Int64 => bytes.number(number, signed().ok_or_else(fits)?.cast_unsigned()),
        Scalar::Uint32 | Scalar::Uint64 => bytes.number(number, unsigned().ok_or_else(fits)?),
        #[expect(clippy::cast_possible_truncation, reason = "the field holds no more")]
        Scalar::Float => bytes.fixed32(number, (float().ok_or_else(fits)? as f32).to_bits()),
        Scalar::Double => bytes.fixed64(number, float().ok_or_else(fits)?.to_bits()),
    }
    Ok(())
}

/// `lbPolicy` for `lb_policy`.
fn same_but_camel(snake: &str, camel: &str) -> bool {
    let mut camel = camel.chars();
    let mut upper = false;
    for c in snake.chars() {
        if c == '_' {
            upper = true;
            continue;
        }
        let expected = if upper { c.to_ascii_uppercase() } else { c };
        upper = false;
        if camel.next() != Some(expected) {
            return false;
        }
    }
    camel.next().is_none()
}

fn no_fit(value: &Value) -> WriteError {
    WriteError::NoFit(value.to_string())
}
