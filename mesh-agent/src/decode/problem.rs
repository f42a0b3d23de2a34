//! What can be wrong with a configuration. Each prints on one line.

use std::io;
use std::path::PathBuf;

use crate::decode::node::{Position, quote};
use crate::decode::place::Place;

/// Something wrong at a place.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    /// Where.
    pub place: Place,
    /// What.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The text can't be read at all.
    #[error("can't be read: {0}")]
    Unreadable(#[source] io::Error),
    /// The text is no YAML.
    #[error("not valid YAML: {0}")]
    Syntax(String),
    /// The text is larger, deeper or longer than anything sensible.
    #[error("too {what}: the limit is {limit}")]
    TooMuch {
        /// `large`, `deep`...
        what: &'static str,
        /// How much is allowed.
        limit: String,
    },
    /// A construct of YAML that has no meaning here.
    #[error("{0}")]
    Yaml(&'static str),
    /// The same key twice in one map.
    #[error("set twice; first at {first}")]
    DuplicateKey {
        /// Where it was set before.
        first: Position,
    },
    /// A field nobody asked for.
    #[error("not supported{}", hint(.near, .supported))]
    Unknown {
        /// A supported field with nearly the same name.
        near: Option<&'static str>,
        /// What may stand here.
        supported: Vec<&'static str>,
    },
    /// A field by a number that no message of that name has, as far as is known here.
    #[error("not supported: {message} has no field {number} here")]
    UnknownNumber {
        /// Full name of the message.
        message: &'static str,
        /// The field's number.
        number: u32,
    },
    /// Bytes that are not what protobuf makes of anything.
    #[error("{0}")]
    Wire(&'static str),
    /// A field or value that Envoy has and the agent does not, yet.
    #[error("not supported: {0}")]
    Refused(&'static str),
    /// A field whose one supported value is Envoy's default.
    #[error("only {only} is supported, found {found}")]
    Only {
        /// The supported value.
        only: &'static str,
        /// What was written.
        found: String,
    },
    /// A field in snake case and in lower camel case at once.
    #[error("set twice, as {0} and as {1}")]
    TwoSpellings(String, String),
    /// A required field is not set.
    #[error("required")]
    Missing,
    /// None of the alternatives is set.
    #[error("one of {} is required", .0.join(", "))]
    NoneOf(Vec<&'static str>),
    /// More than one of the alternatives is set.
    #[error("only one of {0} and {1} may be set")]
    Both(&'static str, &'static str),
    /// A value of the wrong kind.
    #[error("expected {expected}, found {found}")]
    Kind {
        /// What may stand here.
        expected: String,
        /// What does.
        found: String,
    },
    /// An extension that is not there.
    #[error("type {} is not supported; supported here: {}", quote(.found), .supported.join(", "))]
    UnknownType {
        /// Name of the message type.
        found: String,
        /// Those that may stand here.
        supported: Vec<&'static str>,
    },
    /// An extension that comes later.
    #[error("{found} is not supported: {why}")]
    RefusedType {
        /// Name of the message type.
        found: &'static str,
        /// What it waits for.
        why: &'static str,
    },
    /// A regular expression that does not compile.
    #[error("bad regular expression: {0}")]
    Regex(String),
    /// A rule about the value, or about values together, is broken.
    #[error("{0}")]
    Rule(&'static str),
    /// A route or proxy to a cluster that is not configured.
    #[error("there is no cluster {}", quote(.0))]
    NoSuchCluster(String),
    /// Something that must be unique stands twice.
    #[error("{what} {} is taken; first at {first}", quote(.name))]
    Taken {
        /// What must be unique.
        what: &'static str,
        /// Its value.
        name: String,
        /// Where it stands already.
        first: Place,
    },
    /// A file or folder of this host that should be there is not.
    #[error("{what} {}: {source}", .path.display())]
    Host {
        /// What it should be.
        what: &'static str,
        /// Where it was looked for.
        path: PathBuf,
        /// Why it was not found.
        source: io::Error,
    },
    /// A file or folder of this host is something else.
    #[error("{} is not a {what}", .path.display())]
    HostKind {
        /// What it should be.
        what: &'static str,
        /// Its path.
        path: PathBuf,
    },
}

fn hint(near: &Option<&'static str>, supported: &[&'static str]) -> String {
    match near {
        Some(name) => format!("; did you mean {name}?"),
        None if supported.is_empty() => "; nothing may be set here".to_owned(),
        None => format!("; supported here: {}", supported.join(", ")),
    }
}
