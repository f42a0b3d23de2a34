//! Where in a configuration something stands: the path of field names, and line and column if there are any.
//!
//! While decoding, a path is a chain of borrowed steps on the stack; it becomes text only when there is something to say about
//! it, because most configurations are right.

use std::fmt::{self, Write as _};

use crate::decode::node::Position;

/// A place, to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line and column, where the configuration is a text.
    pub position: Option<Position>,
    /// `static_resources.listeners[0].name`; for a resource from a control plane it begins with the resource's name.
    pub path: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.position, self.path.is_empty()) {
            (Some(position), true) => write!(f, "{position}"),
            (Some(position), false) => write!(f, "{position}: {}", self.path),
            (None, true) => f.write_str("the whole configuration"),
            (None, false) => f.write_str(&self.path),
        }
    }
}

/// A path while decoding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root(&'a str),
    Field(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    /// The path of a whole resource. `name` is empty for a file.
    pub(crate) fn root(name: &'a str) -> Self {
        Self { parent: None, step: Step::Root(name) }
    }

    pub(crate) fn field(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Field(name) }
    }

    pub(crate) fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.parent.map(ToString::to_string).unwrap_or_default();
        push_step(&mut text, self.step);
        f.write_str(&text)
    }
}

fn push_step(text: &mut String, step: Step<'_>) {
    match step {
        Step::Root(name) => text.push_str(name),
        Step::Field(name) => push_field(text, name),
        Step::Index(index) => {
            let _ = write!(text, "[{index}]");
        }
    }
}

/// Appends a field to a path. A name that is no identifier (the key of a free map) is quoted, so that a path stays readable.
pub(crate) fn push_field(text: &mut String, name: &str) {
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !plain {
        let _ = write!(text, "[{}]", crate::decode::node::quote(name));
        return;
    }
    if !text.is_empty() {
        text.push('.');
    }
    text.push_str(name);
}
