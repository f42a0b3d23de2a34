//! A tree to protobuf: what a control plane would send for a YAML.

use serde_json::json;

use crate::decode::{Node, Value};
use crate::protobuf::wire::Writer;
use crate::protobuf::write;

/// The bytes of the message `name` that `tree` describes. Panics at whatever is no such message.
pub(crate) fn encode(name: &str, tree: &Node) -> Vec<u8> {
    write(name, &json(tree)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(flag) => json!(flag),
        Value::Int(number) => json!(i64::try_from(*number).expect("a number")),
        Value::Float(number) => json!(number),
        Value::Text(text) => json!(text),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(entries) => {
            serde_json::Value::Object(entries.iter().map(|it| (it.key.to_string(), json(&it.value))).collect())
        }
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
    let mut writer = Writer::default();
    writer.varint(value.cast_unsigned());
    writer.0
}
