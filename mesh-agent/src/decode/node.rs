//! The tree all decoders read: values with the place they were written at.
//!
//! A file's YAML is turned into it by [`crate::file`]; a protobuf message by [`crate::protobuf`]. A position is optional,
//! because only text has one.

use std::borrow::Cow;
use std::fmt;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it was written, if it was.
    pub position: Option<Position>,
    /// What it is.
    pub value: Value,
}

/// What a [`Node`] holds: JSON's kinds, with integers told apart.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, which counts as not set.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without fraction.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// Values in order.
    List(Vec<Node>),
    /// Fields in the order they were written. Keys are unique.
    Map(Vec<Entry>),
}

/// One field of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Name as written.
    pub key: Cow<'static, str>,
    /// Where the name stands.
    pub position: Option<Position>,
    /// The field's value.
    pub value: Node,
}

/// Line and column in a text, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Value {
    pub(crate) fn is_empty_list(&self) -> bool {
        matches!(self, Self::List(items) if items.is_empty())
    }

    /// What it is, for an error where something else than text should be: what the text says would not help, and it may be a key.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Text(_) => "text".to_owned(),
            _ => self.brief(),
        }
    }

    /// The value in a few words, for an error.
    pub(crate) fn brief(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => format!("the number {value}"),
            Self::Float(value) => format!("the number {value}"),
            Self::Text(text) => quote(text),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a map".to_owned(),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// `text` quoted for a one-line message: escaped, and cut if it is long.
pub(crate) fn quote(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}
