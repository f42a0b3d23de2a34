//! A message to a tree, field by field.
//!
//! Fields stand in the tree in the order in which they first came. Of a scalar that came twice the last counts, as protobuf says.
//! Two things that protobuf would merge are refused, as no encoder writes them: a message in parts, and two alternatives of a `oneof`
//! (the decoders find both set).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::decode::{ConfigError, Entry, MAX_ERRORS, Node, Path, Place, Problem, Value};
use crate::protobuf::known;
use crate::protobuf::table::{Field, Kind, MessageId, Scalar, Shape, table};
use crate::protobuf::wire::{Malformed, Reader, Wire};

/// Deepest nesting of messages, as protobuf's own parsers have it.
const MAX_DEPTH: usize = 100;
/// Most values of one resource: a cluster with 100,000 endpoints has fewer, and they take 200 MiB.
const MAX_VALUES: usize = 2_000_000;
const OTHER_KIND: Problem = Problem::Wire("has a value of another kind");

/// A message that was read.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) root: Node,
    pub(crate) problems: Vec<ConfigError>,
    /// The bytes are no proper encoding: what is in the tree is not all, and there is no use in looking at it.
    pub(crate) is_broken: bool,
}

/// Reads `bytes` as the message `name`, which the table has.
pub(crate) fn read(name: &str, bytes: &[u8]) -> Read {
    let mut context = Context { problems: Vec::new(), is_broken: false, values: 0, depth: 0 };
    let id = table().find(name).expect("every kind of resource is in the table");
    let value = context.message(id, bytes, Path::root(""));
    Read { root: node(value), problems: context.problems, is_broken: context.is_broken }
}

/// What reading one resource gathers.
#[derive(Debug)]
pub(crate) struct Context {
    problems: Vec<ConfigError>,
    is_broken: bool,
    values: usize,
    depth: usize,
}

impl Context {
    /// The tree of a message: usually its fields, but some have a form of their own.
    pub(crate) fn message(&mut self, id: MessageId, bytes: &[u8], path: Path<'_>) -> Value {
        if self.depth == MAX_DEPTH {
            let limit = format!("{MAX_DEPTH} messages in one another");
            return self.broken(path, Problem::TooMuch { what: "deep", limit });
        }
        self.depth += 1;
        let value = match known::read(self, id, bytes, path) {
            Some(value) => value,
            None => Value::Map(self.fields(id, bytes, path)),
        };
        self.depth -= 1;
        value
    }

    /// A message's fields by name.
    pub(crate) fn fields(&mut self, id: MessageId, bytes: &[u8], path: Path<'_>) -> Vec<Entry> {
        let message = table().message(id);
        let mut found: Vec<(&Field, Value)> = Vec::new();
        let mut strangers = BTreeSet::new();
        let mut reader = Reader(bytes);
        while let Some((number, wire)) = self.next(&mut reader, path) {
            let Some(field) = message.field(number) else {
                if strangers.len() < MAX_ERRORS {
                    strangers.insert(number);
                }
                continue;
            };
            match found.iter_mut().find(|(known, _)| known.number == number) {
                Some((_, value)) => self.add(field, value, wire, path.field(field.name)),
                None => {
                    let mut value = match field.shape {
                        Shape::Repeated => Value::List(Vec::new()),
                        Shape::Map(_) => Value::Map(Vec::new()),
                        Shape::Plain | Shape::Present => Value::Null,
                    };
                    self.add(field, &mut value, wire, path.field(field.name));
                    found.push((field, value));
                }
            }
        }
        for number in strangers {
            self.report(path, Problem::UnknownNumber { message: message.name, number });
        }
        let is_set = |(field, value): &(&Field, Value)| {
            field.shape != Shape::Plain || matches!(field.kind, Kind::Message(_)) || !is_zero(field.kind, value)
        };
        let entry = |(field, value): (&Field, Value)| {
            let value = if let Shape::Map(_) = field.shape { without_twins(value) } else { value };
            Entry { key: field.name.into(), position: None, value: node(value) }
        };
        found.into_iter().filter(is_set).map(entry).collect()
    }

    /// The bytes of a message's fields by number; the last of each.
    pub(crate) fn raw<'b>(&mut self, id: MessageId, bytes: &'b [u8], path: Path<'_>) -> BTreeMap<u32, &'b [u8]> {
        let message = table().message(id);
        let mut found = BTreeMap::new();
        let mut reader = Reader(bytes);
        while let Some((number, wire)) = self.next(&mut reader, path) {
            match wire {
                _ if message.field(number).is_none() => {
                    self.report(path, Problem::UnknownNumber { message: message.name, number });
                }
                Wire::Bytes(bytes) => drop(found.insert(number, bytes)),
                _ => drop(self.broken(path, OTHER_KIND)),
            }
        }
        found
    }

    /// The next field. `None` at the end, and after whatever makes the rest unreadable.
    fn next<'b>(&mut self, reader: &mut Reader<'b>, path: Path<'_>) -> Option<(u32, Wire<'b>)> {
        match reader.field() {
            Ok(field) => field.filter(|_| self.count(path)),
            Err(Malformed(what)) => {
                self.broken(path, Problem::Wire(what));
                None
            }
        }
    }

    /// One occurrence of a field more.
    fn add(&mut self, field: &Field, value: &mut Value, wire: Wire<'_>, path: Path<'_>) {
        match (field.shape, value) {
            (Shape::Repeated, Value::List(items)) => match (field.kind, wire) {
                (Kind::Message(_) | Kind::Scalar(Scalar::String | Scalar::Bytes), _) => {
                    let item = self.one(field.kind, wire, path.index(items.len()));
                    items.push(node(item));
                }
                (_, Wire::Bytes(packed)) => self.packed(field.kind, packed, path, items),
                _ => {
                    let item = self.one(field.kind, wire, path.index(items.len()));
                    items.push(node(item));
                }
            },
            (Shape::Map(key), Value::Map(entries)) => entries.extend(self.entry(key, field.kind, wire, path)),
            (_, value) => {
                if *value != Value::Null && matches!(field.kind, Kind::Message(_)) {
                    self.broken(path, Problem::Wire("stands twice"));
                } else {
                    *value = self.one(field.kind, wire, path);
                }
            }
        }
    }

    /// Numbers one after another, without tags.
    fn packed(&mut self, kind: Kind, packed: &[u8], path: Path<'_>, items: &mut Vec<Node>) {
        let mut reader = Reader(packed);
        while !reader.is_empty() && self.count(path) {
            let wire = match kind {
                Kind::Scalar(Scalar::Double) => reader.fixed64().map(Wire::Fixed64),
                Kind::Scalar(Scalar::Float) => reader.fixed32().map(Wire::Fixed32),
                _ => reader.varint().map(Wire::Varint),
            };
            match wire {
                Ok(wire) => {
                    let value = self.one(kind, wire, path.index(items.len()));
                    items.push(node(value));
                }
                Err(Malformed(what)) => return drop(self.broken(path, Problem::Wire(what))),
            }
        }
    }

    /// Entries of a map are messages of a key (1) and a value (2).
    fn entry(&mut self, key: Scalar, kind: Kind, wire: Wire<'_>, path: Path<'_>) -> Option<Entry> {
        let Wire::Bytes(bytes) = wire else {
            self.broken(path, OTHER_KIND);
            return None;
        };
        let (mut name, mut found) = (Value::Null, nothing(kind));
        let mut reader = Reader(bytes);
        while let Some((number, wire)) = self.next(&mut reader, path) {
            match number {
                1 => name = self.one(Kind::Scalar(key), wire, path),
                2 => found = wire,
                _ => self.report(path, Problem::UnknownNumber { message: "an entry of a map", number }),
            }
        }
        let name = match name {
            Value::Text(text) => text,
            Value::Int(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => String::new(),
        };
        let value = self.one(kind, found, path.field(&name));
        Some(Entry { key: name.into(), position: None, value: node(value) })
    }

    /// One value, by its kind. After a problem, null.
    pub(crate) fn one(&mut self, kind: Kind, wire: Wire<'_>, path: Path<'_>) -> Value {
        match (kind, wire) {
            (Kind::Message(id), Wire::Bytes(bytes)) => self.message(id, bytes, path),
            (Kind::Enum(id), Wire::Varint(value)) => {
                let number = low_bits(value);
                match table().value_name(id, number) {
                    Some(name) => Value::Text(name.to_owned()),
                    // A decoder that reads it says which there are.
                    None => Value::Int(number.into()),
                }
            }
            (Kind::Scalar(scalar), wire) => match self.scalar(scalar, wire, path) {
                Some(value) => value,
                None => self.broken(path, OTHER_KIND),
            },
            _ => self.broken(path, OTHER_KIND),
        }
    }

    fn scalar(&mut self, scalar: Scalar, wire: Wire<'_>, path: Path<'_>) -> Option<Value> {
        Some(match (scalar, wire) {
            (Scalar::Bool, Wire::Varint(value)) => Value::Bool(value != 0),
            (Scalar::Int32, Wire::Varint(value)) => Value::Int(low_bits(value).into()),
            (Scalar::Int64, Wire::Varint(value)) => Value::Int(value.cast_signed().into()),
            (Scalar::Uint32, Wire::Varint(value)) => Value::Int((value & u64::from(u32::MAX)).into()),
            (Scalar::Uint64, Wire::Varint(value)) => Value::Int(value.into()),
            (Scalar::Double, Wire::Fixed64(bits)) => number(f64::from_bits(bits)),
            (Scalar::Float, Wire::Fixed32(bits)) => number(f32::from_bits(bits).into()),
            (Scalar::String, Wire::Bytes(bytes)) => match str::from_utf8(bytes) {
                Ok(text) => Value::Text(text.to_owned()),
                Err(_) => self.broken(path, Problem::Wire("is not UTF-8")),
            },
            (Scalar::Bytes, Wire::Bytes(bytes)) => Value::Text(known::base64(bytes)),
            _ => return None,
        })
    }

    /// Counts a value; false when there are too many.
    fn count(&mut self, path: Path<'_>) -> bool {
        self.values += 1;
        if self.values == MAX_VALUES + 1 {
            self.broken(path, Problem::TooMuch { what: "long", limit: format!("{MAX_VALUES} values") });
        }
        self.values <= MAX_VALUES
    }

    pub(crate) fn broken(&mut self, path: Path<'_>, problem: Problem) -> Value {
        self.is_broken = true;
        self.report(path, problem);
        Value::Null
    }

    fn report(&mut self, path: Path<'_>, problem: Problem) {
        if self.problems.len() < MAX_ERRORS {
            self.problems.push(ConfigError { place: Place { position: None, path: path.to_string() }, problem });
        }
    }
}

/// A value without the place that only text has.
pub(crate) fn node(value: Value) -> Node {
    Node { position: None, value }
}

/// A number as YAML gives it: without fraction, it is an integer.
pub(crate) fn number(value: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "checked: no fraction, and small enough to be exact")]
    if value.fract() == 0.0 && value.abs() <= EXACT { Value::Int(value as i128) } else { Value::Float(value) }
}

/// What 32-bit fields take of a number: its lower half, as protobuf has it.
#[expect(clippy::cast_possible_truncation, reason = "that is what is asked for")]
fn low_bits(value: u64) -> i32 {
    value as i32
}

/// A map whose keys are unique: the last value of each counts.
fn without_twins(map: Value) -> Value {
    let Value::Map(mut entries) = map else { return map };
    let mut seen = HashSet::with_capacity(entries.len());
    let mut keep: Vec<bool> = entries.iter().rev().map(|entry| seen.insert(entry.key.clone())).collect();
    entries.retain(|_| keep.pop().unwrap_or(true));
    Value::Map(entries)
}

/// Whether a field without presence has the value that is never sent.
fn is_zero(kind: Kind, value: &Value) -> bool {
    match (kind, value) {
        (Kind::Enum(id), Value::Text(name)) => table().value_name(id, 0) == Some(name),
        (_, Value::Bool(flag)) => !flag,
        (_, Value::Int(number)) => *number == 0,
        (_, Value::Text(text)) => text.is_empty(),
        _ => false,
    }
}

/// The value of a map's entry that came without one.
fn nothing(kind: Kind) -> Wire<'static> {
    match kind {
        Kind::Message(_) | Kind::Scalar(Scalar::String | Scalar::Bytes) => Wire::Bytes(&[]),
        Kind::Scalar(Scalar::Double) => Wire::Fixed64(0),
        Kind::Scalar(Scalar::Float) => Wire::Fixed32(0),
        Kind::Scalar(_) | Kind::Enum(_) => Wire::Varint(0),
    }
}
