//! A tree to protobuf, by the same table: what a control plane would send for a YAML.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::decode::{Entry, Node, Value};
use crate::protobuf::table::{Kind, MessageId, Scalar, Shape, table};

/// The bytes of the message `name` that `tree` describes. Panics at whatever is no such message.
pub(crate) fn encode(name: &str, tree: &Node) -> Vec<u8> {
    let id = table().find(name).unwrap_or_else(|| panic!("the table has no {name}"));
    message(id, &tree.value)
}

fn message(id: MessageId, value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    let name = table().message(id).name;
    match (name, value) {
        ("google.protobuf.Duration", Value::Text(text)) => {
            let number = text.strip_suffix('s').expect("a duration");
            let (seconds, fraction) = number.split_once('.').unwrap_or((number, "0"));
            put(&mut bytes, 1, 0, &varint(seconds.parse().expect("seconds")));
            put(&mut bytes, 2, 0, &varint(format!("{fraction:0<9}").parse().expect("nanoseconds")));
        }
        ("google.protobuf.Any", Value::Map(entries)) => {
            let (kind, rest): (Vec<_>, Vec<_>) = entries.iter().cloned().partition(|entry| entry.key == "@type");
            let Value::Text(url) = &kind[0].value.value else { panic!("a type") };
            put(&mut bytes, 1, 2, url.as_bytes());
            if let Some(id) = table().find(url.rsplit('/').next().unwrap_or_default()) {
                put(&mut bytes, 2, 2, &message(id, &Value::Map(rest)));
            }
        }
        ("google.protobuf.Struct", value) => named(&mut bytes, id, "fields", value),
        ("google.protobuf.ListValue", value) => named(&mut bytes, id, "values", value),
        ("google.protobuf.Value", value) => {
            let kind = match value {
                Value::Null => "null_value",
                Value::Bool(_) => "bool_value",
                Value::Int(_) | Value::Float(_) => "number_value",
                Value::Text(_) => "string_value",
                Value::List(_) => "list_value",
                Value::Map(_) => "struct_value",
            };
            named(&mut bytes, id, kind, value);
        }
        (_, Value::Map(entries)) => {
            for entry in entries.iter().filter(|entry| entry.value.value != Value::Null) {
                field(&mut bytes, id, entry);
            }
        }
        // A wrapper.
        (_, value) => scalar_field(&mut bytes, 1, table().message(id).fields[0].kind, value),
    }
    bytes
}

fn named(bytes: &mut Vec<u8>, id: MessageId, key: &'static str, value: &Value) {
    let value = Node { position: None, value: value.clone() };
    field(bytes, id, &Entry { key: key.into(), position: None, value });
}

fn field(bytes: &mut Vec<u8>, id: MessageId, Entry { key, value, .. }: &Entry) {
    let message = table().message(id);
    let same = |name: &str| name.replace('_', "").eq_ignore_ascii_case(&key.replace('_', ""));
    let field = message.fields.iter().find(|field| same(field.name));
    let field = field.unwrap_or_else(|| panic!("{} has no {key}", message.name));
    match (field.shape, &value.value) {
        (Shape::Repeated, Value::List(items)) => {
            for item in items {
                scalar_field(bytes, field.number, field.kind, &item.value);
            }
        }
        (Shape::Map(_), Value::Map(entries)) => {
            for entry in entries {
                let mut pair = Vec::new();
                put(&mut pair, 1, 2, entry.key.as_bytes());
                scalar_field(&mut pair, 2, field.kind, &entry.value.value);
                put(bytes, field.number, 2, &pair);
            }
        }
        (_, value) => scalar_field(bytes, field.number, field.kind, value),
    }
}

fn scalar_field(bytes: &mut Vec<u8>, number: u32, kind: Kind, value: &Value) {
    match (kind, value) {
        (Kind::Message(id), value) => put(bytes, number, 2, &message(id, value)),
        (Kind::Enum(id), Value::Text(name)) => {
            let value = table().value_number(id, &name.to_ascii_uppercase()).unwrap_or_else(|| panic!("no {name}"));
            put(bytes, number, 0, &varint(value.into()));
        }
        (Kind::Scalar(Scalar::String), Value::Text(text)) => put(bytes, number, 2, text.as_bytes()),
        (Kind::Scalar(Scalar::Bytes), Value::Text(text)) => {
            put(bytes, number, 2, &STANDARD.decode(text).expect("Base64"));
        }
        (Kind::Scalar(Scalar::Bool), Value::Bool(flag)) => put(bytes, number, 0, &[u8::from(*flag)]),
        (Kind::Scalar(Scalar::Bool), Value::Text(text)) => put(bytes, number, 0, &[u8::from(text == "true")]),
        (Kind::Scalar(Scalar::Double), value) => put(bytes, number, 1, &float(value).to_le_bytes()),
        (_, Value::Int(value)) => put(bytes, number, 0, &varint(i64::try_from(*value).expect("a number"))),
        #[expect(clippy::cast_possible_truncation, reason = "the sample's numbers are small")]
        (_, Value::Float(value)) => put(bytes, number, 0, &varint(*value as i64)),
        (_, Value::Text(text)) => put(bytes, number, 0, &varint(text.parse().expect("a number"))),
        other => panic!("{other:?}"),
    }
}

fn float(value: &Value) -> f64 {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "the sample's numbers are small")]
        Value::Int(value) => *value as f64,
        Value::Float(value) => *value,
        other => panic!("{other:?}"),
    }
}

/// A field: its tag, its length if it is of bytes, and its value.
pub(crate) fn put(bytes: &mut Vec<u8>, number: u32, wire: u8, value: &[u8]) {
    bytes.extend(varint((i64::from(number) << 3) | i64::from(wire)));
    if wire == 2 {
        bytes.extend(varint(i64::try_from(value.len()).expect("a length")));
    }
    bytes.extend(value);
}

pub(crate) fn varint(value: i64) -> Vec<u8> {
    let mut left = value.cast_unsigned();
    let mut bytes = Vec::new();
    while left >= 0x80 {
        bytes.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}
