//! What a field may hold, in words: for errors, and for the reference that is generated from the decoders.

use std::fmt;
use std::ops::RangeInclusive;

/// The kind of value a decoder asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text.
    Text,
    /// A boolean.
    Flag,
    /// An integer of a range.
    Integer(i64, i64),
    /// A number from 0 to 100, with or without fraction.
    Percent,
    /// A map of anything, which nobody reads.
    Label,
    /// A length of time.
    Duration,
    /// An enumeration's value.
    Choice(Vec<&'static str>),
    /// An IP address.
    Address,
    /// A block of IP addresses.
    Cidr,
    /// A regular expression.
    Regex,
    /// Bytes.
    Base64,
    /// A message of that name.
    Message(&'static str),
    /// Several values of a kind.
    List(Box<Kind>),
    /// Free names with values of a kind.
    Map(Box<Kind>),
    /// Whatever names and values.
    Free,
    /// An `Any` that holds one of these.
    Any(Vec<&'static str>),
    /// Only this value, because the agent behaves as it says.
    Only(&'static str),
    /// Nothing, for that reason.
    Refused(&'static str),
}

impl Kind {
    pub(crate) fn number(range: &RangeInclusive<u32>) -> Self {
        Self::Integer((*range.start()).into(), (*range.end()).into())
    }

    pub(crate) fn list(of: Self) -> Self {
        Self::List(Box::new(of))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Flag => f.write_str("true or false"),
            Self::Integer(i64::MIN, i64::MAX) => f.write_str("an integer"),
            Self::Integer(min, max) => write!(f, "an integer from {min} to {max}"),
            Self::Percent => f.write_str("a number from 0 to 100"),
            Self::Label => f.write_str("a map of anything"),
            Self::Duration => f.write_str("a duration such as 1.5s"),
            Self::Choice(names) => write!(f, "one of {}", names.join(", ")),
            Self::Address => f.write_str("an IP address"),
            Self::Cidr => f.write_str("an address block such as 10.0.0.0/8"),
            Self::Regex => f.write_str("a regular expression"),
            Self::Base64 => f.write_str("bytes in Base64"),
            Self::Message(name) => write!(f, "a map ({})", short(name)),
            Self::List(_) => f.write_str("a list"),
            Self::Map(_) => f.write_str("a map"),
            Self::Free => f.write_str("a map of anything (google.protobuf.Struct)"),
            Self::Any(names) => write!(f, "a map with @type {}", names.join(" or ")),
            Self::Only(value) => write!(f, "only {value}"),
            Self::Refused(why) => write!(f, "nothing: {why}"),
        }
    }
}

/// The last part of a message's name.
pub(crate) fn short(message: &str) -> &str {
    message.rsplit('.').next().unwrap_or(message)
}
