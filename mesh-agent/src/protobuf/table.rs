//! The table of messages: which field number has which name and kind. Parsed once, when the first resource comes.
//!
//! It is generated from Envoy's own `.proto` files (see `xtask/descriptors`), and holds every message that a resource can consist
//! of, supported or not, so that an error can name the field. It takes some 100 KiB of memory.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Every message and enumeration of the table.
#[derive(Debug)]
pub(crate) struct Table {
    messages: Vec<Message>,
    enums: Vec<Enum>,
    by_name: HashMap<&'static str, MessageId>,
}

/// A message's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MessageId(u16);

/// An enumeration's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EnumId(u16);

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) name: &'static str,
    /// By number.
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug)]
pub(crate) struct Enum {
    values: Vec<(i32, &'static str)>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) shape: Shape,
}

/// How often a field may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Once; a zero is the same as nothing.
    Plain,
    /// Once; a zero is a value. So are messages.
    Present,
    /// Any number of times.
    Repeated,
    /// Entries, with keys of that kind.
    Map(Scalar),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Scalar(Scalar),
    Enum(EnumId),
    Message(MessageId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Float,
    Double,
    String,
    Bytes,
}

/// The table.
pub(crate) fn table() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(|| parse(include_str!("envoy.txt")));
    &TABLE
}

impl Table {
    pub(crate) fn find(&self, name: &str) -> Option<MessageId> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn message(&self, id: MessageId) -> &Message {
        &self.messages[usize::from(id.0)]
    }

    pub(crate) fn value_name(&self, id: EnumId, number: i32) -> Option<&'static str> {
        let values = &self.enums[usize::from(id.0)].values;
        values.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
    }

    pub(crate) fn value_number(&self, id: EnumId, name: &str) -> Option<i32> {
        let values = &self.enums[usize::from(id.0)].values;
        values.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
    }
}

impl Message {
    pub(crate) fn field(&self, number: u32) -> Option<&Field> {
        self.fields.binary_search_by_key(&number, |field| field.number).ok().map(|index| &self.fields[index])
    }
}

/// The table from its text, which is ours: a mistake in it is found by the first test that reads any resource.
fn parse(text: &'static str) -> Table {
    let is_head = |line: &&str| !line.starts_with([' ', '#']);
    let (enums, messages): (Vec<_>, Vec<_>) = text.lines().filter(is_head).partition(|line| line.starts_with('='));
    let number = |index: usize| u16::try_from(index).expect("the table has fewer than 65536 messages");
    let by_name: HashMap<_, _> =
        messages.iter().enumerate().map(|(index, name)| (*name, MessageId(number(index)))).collect();
    let enum_ids: HashMap<_, _> =
        enums.iter().enumerate().map(|(index, name)| (&name[1..], EnumId(number(index)))).collect();
    let mut table = Table { messages: Vec::new(), enums: Vec::new(), by_name };
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix(' ') {
            None if line.starts_with('=') => table.enums.push(Enum { values: Vec::new() }),
            None => table.messages.push(Message { name: line, fields: Vec::new() }),
            Some(line) => {
                let mut words = line.split(' ');
                let mut word = || words.next().unwrap_or_default();
                let (number, name, form) = (word(), word(), word());
                match table.enums.last_mut() {
                    // Enumerations come after all messages.
                    Some(it) => it.values.push((number.parse().expect("a value's number"), name)),
                    None => {
                        let (kind, shape) = form_of(form, &table.by_name, &enum_ids);
                        let field = Field { number: number.parse().expect("a field's number"), name, kind, shape };
                        table.messages.last_mut().expect("a message before its fields").fields.push(field);
                    }
                }
            }
        }
    }
    table
}

fn form_of(form: &str, messages: &HashMap<&str, MessageId>, enums: &HashMap<&str, EnumId>) -> (Kind, Shape) {
    let kind = |name: &str| match (name.strip_prefix('='), messages.get(name)) {
        (Some(name), _) => Kind::Enum(enums[name]),
        (None, Some(id)) => Kind::Message(*id),
        (None, None) => Kind::Scalar(scalar(name)),
    };
    if let Some((key, value)) = form.strip_prefix('{').and_then(|form| form.split_once('}')) {
        return (kind(value), Shape::Map(scalar(key)));
    }
    if let Some(name) = form.strip_prefix('*') {
        return (kind(name), Shape::Repeated);
    }
    match form.strip_suffix('?') {
        Some(name) => (kind(name), Shape::Present),
        None => (kind(form), Shape::Plain),
    }
}

fn scalar(name: &str) -> Scalar {
    match name {
        "bool" => Scalar::Bool,
        "int32" => Scalar::Int32,
        "int64" => Scalar::Int64,
        "uint32" => Scalar::Uint32,
        "uint64" => Scalar::Uint64,
        "float" => Scalar::Float,
        "double" => Scalar::Double,
        "string" => Scalar::String,
        "bytes" => Scalar::Bytes,
        // No message that is supported or refused by name has others (sint32, fixed64...).
        other => panic!("the table has a field of kind {other}, which nothing reads"),
    }
}
