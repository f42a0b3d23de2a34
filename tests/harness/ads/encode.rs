//! Resources in JSON, as configurations are written, to the bytes a management server sends.
//!
//! By the agent's own table of Envoy's messages, so a wrong number in it would go unnoticed here; what Envoy itself makes of the same
//! bytes is another test's.

use std::collections::HashMap;
use std::sync::LazyLock;

use anyhow::{Context, bail};
use serde_json::Value;

/// The bytes of the message `name` (full) that `value` describes.
///
/// # Errors
/// If it describes no such message.
pub fn encode(name: &str, value: &Value) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    message(name, value, &mut bytes).with_context(|| name.to_owned())?;
    Ok(bytes)
}

struct Field {
    number: u64,
    name: &'static str,
    kind: &'static str,
    is_repeated: bool,
    is_map: bool,
}

#[derive(Default)]
struct Table {
    messages: HashMap<&'static str, Vec<Field>>,
    enums: HashMap<&'static str, HashMap<&'static str, u64>>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::default();
    let mut head = "";
    for line in include_str!("../../../mesh-agent/src/protobuf/envoy.txt").lines().filter(|line| !line.starts_with('#'))
    {
        let Some(line) = line.strip_prefix(' ') else {
            head = line;
            continue;
        };
        let words: Vec<_> = line.split(' ').collect();
        let number = words[0].parse::<i64>().unwrap_or_default().cast_unsigned();
        match head.strip_prefix('=') {
            Some(head) => {
                table.enums.entry(head).or_default().insert(words[1], number);
            }
            None => {
                let form = words[2];
                let is_map = form.starts_with('{');
                let kind =
                    form.split_once('}').map_or(form, |(_, kind)| kind).trim_start_matches('*').trim_end_matches('?');
                let field = Field { number, name: words[1], kind, is_repeated: form.starts_with('*'), is_map };
                table.messages.entry(head).or_default().push(field);
            }
        }
    }
    table
});

fn message(name: &str, value: &Value, bytes: &mut Vec<u8>) -> anyhow::Result<()> {
    match (name, value) {
        ("google.protobuf.Duration", Value::String(text)) => {
            let number = text.strip_suffix('s').context("a duration ends in s")?;
            let (seconds, fraction) = number.split_once('.').unwrap_or((number, "0"));
            varint_field(1, seconds.parse()?, bytes);
            varint_field(2, format!("{fraction:0<9}").parse()?, bytes);
        }
        ("google.protobuf.Any", Value::Object(fields)) => {
            let url = fields.get("@type").and_then(Value::as_str).context("an Any has a @type")?;
            bytes_field(1, url.as_bytes(), bytes);
            let mut rest = fields.clone();
            rest.remove("@type");
            let name = url.rsplit('/').next().unwrap_or_default();
            if TABLE.messages.contains_key(name) {
                bytes_field(2, &encode(name, &Value::Object(rest))?, bytes);
            }
        }
        (_, Value::Object(values)) => {
            let none = Vec::new();
            let fields = TABLE.messages.get(name).unwrap_or(&none);
            for (key, value) in values.iter().filter(|(_, value)| !value.is_null()) {
                let field = fields.iter().find(|field| field.name == key);
                let field = field.with_context(|| format!("{name} has no field {key}"))?;
                each(field, value, bytes).with_context(|| key.clone())?;
            }
        }
        // A wrapper: `google.protobuf.UInt32Value` and the like.
        (_, value) => {
            let field = TABLE.messages.get(name).and_then(|fields| fields.first()).context("an unknown message")?;
            single(field.number, field.kind, value, bytes)?;
        }
    }
    Ok(())
}

fn each(field: &Field, value: &Value, bytes: &mut Vec<u8>) -> anyhow::Result<()> {
    match value {
        Value::Array(items) if field.is_repeated => {
            items.iter().try_for_each(|item| single(field.number, field.kind, item, bytes))
        }
        Value::Object(entries) if field.is_map => entries.iter().try_for_each(|(key, value)| {
            let mut pair = Vec::new();
            bytes_field(1, key.as_bytes(), &mut pair);
            single(2, field.kind, value, &mut pair)?;
            bytes_field(field.number, &pair, bytes);
            Ok(())
        }),
        value => single(field.number, field.kind, value, bytes),
    }
}

fn single(number: u64, kind: &str, value: &Value, bytes: &mut Vec<u8>) -> anyhow::Result<()> {
    if let Some(kind) = kind.strip_prefix('=') {
        let name = value.as_str().context("an enumeration's name")?;
        let value = TABLE.enums.get(kind).and_then(|values| values.get(name)).with_context(|| format!("no {name}"))?;
        varint_field(number, *value, bytes);
        return Ok(());
    }
    match (kind, value) {
        ("bool", Value::Bool(flag)) => varint_field(number, u64::from(*flag), bytes),
        ("double", value) => {
            varint((number << 3) | 1, bytes);
            bytes.extend(value.as_f64().context("a number")?.to_le_bytes());
        }
        ("string", Value::String(text)) => bytes_field(number, text.as_bytes(), bytes),
        ("uint32" | "uint64" | "int32" | "int64", value) => {
            let value = value.as_i64().context("a number")?;
            varint_field(number, value.cast_unsigned(), bytes);
        }
        (name, value) if name.contains('.') => bytes_field(number, &encode(name, value)?, bytes),
        (kind, value) => bail!("{value} is no {kind}"),
    }
    Ok(())
}

fn varint_field(number: u64, value: u64, bytes: &mut Vec<u8>) {
    varint(number << 3, bytes);
    varint(value, bytes);
}

fn bytes_field(number: u64, value: &[u8], bytes: &mut Vec<u8>) {
    varint((number << 3) | 2, bytes);
    varint(value.len() as u64, bytes);
    bytes.extend(value);
}

fn varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}
