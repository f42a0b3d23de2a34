//! A value with its place: the typed readings of a single value, by the rules of proto3's JSON form.
//!
//! A reading answers `None` after it reported what is wrong; the caller goes on, so that one run finds all errors. Deviations from
//! strict proto3 JSON are those Envoy allows: booleans as text, the names of enumerations in any case.

use std::cell::RefCell;
use std::net::IpAddr;
use std::time::Duration;

use crate::decode::base64;
use crate::decode::kind::Kind;
use crate::decode::node::{Entry, Node, Position, Value};
use crate::decode::place::{Path, Place};
use crate::decode::problem::{ConfigError, Problem};
use crate::model::name::ClusterName;

/// Most problems that are reported. More help nobody, and a hostile text must not turn into unbounded memory.
pub(crate) const MAX_ERRORS: usize = 1000;

/// What decoding one source or resource gathers besides the model.
#[derive(Debug, Default)]
pub(crate) struct Context {
    /// Everything that is wrong.
    pub(crate) errors: RefCell<Vec<ConfigError>>,
    /// Clusters that something refers to, to be looked up when all of them are known.
    pub(crate) wanted_clusters: RefCell<Vec<(ClusterName, Place)>>,
    /// Where something is asked of a management server that clusters come from, if there is to be one.
    pub(crate) asks_for_clusters: RefCell<Option<Place>>,
    /// Where something is said about what a management server sends, if there is to be one.
    pub(crate) keeps: RefCell<Option<Place>>,
    /// Files of this host that something refers to, to be looked up by whoever may do I/O.
    pub(crate) host_paths: RefCell<Vec<HostPath>>,
}

impl Context {
    pub(crate) fn report(&self, place: Place, problem: Problem) {
        if !self.is_full() {
            self.errors.borrow_mut().push(ConfigError { place, problem });
        }
    }

    /// Whether so much is wrong that there is no use in looking for more.
    pub(crate) fn is_full(&self) -> bool {
        self.errors.borrow().len() >= MAX_ERRORS
    }
}

/// A file of this host that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPath {
    /// What it must be.
    pub kind: HostPathKind,
    /// Its path as written.
    pub path: std::path::PathBuf,
    /// Where it was written.
    pub place: Place,
}

/// What a [`HostPath`] must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostPathKind {
    /// A network namespace.
    Netns,
    /// A cgroup, relative to the cgroup v2 mount or absolute.
    Cgroup,
}

/// A value of an enumeration: its name, its number, and what it means.
pub(crate) type Choice<T> = (&'static str, i32, T);

/// A value, its path and the gathering context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: Path<'a>,
    pub(crate) context: &'a Context,
}

impl<'a> At<'a> {
    pub(crate) fn place(&self) -> Place {
        self.place_at(self.node.position)
    }

    pub(crate) fn place_at(&self, position: Option<Position>) -> Place {
        Place { position, path: self.path.to_string() }
    }

    pub(crate) fn report(&self, problem: Problem) {
        self.context.report(self.place(), problem);
    }

    /// Reports a broken rule.
    pub(crate) fn rule(&self, rule: &'static str) {
        self.report(Problem::Rule(rule));
    }

    fn wrong<T>(&self, kind: &Kind) -> Option<T> {
        let found = match kind {
            Kind::Message(_) | Kind::List(_) => self.node.value.kind(),
            _ => self.node.value.brief(),
        };
        self.report(Problem::Kind { expected: kind.to_string(), found });
        None
    }

    pub(crate) fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            // A plain 1.10 is a number to YAML and would lose its zero: say it rather than guess.
            _ => self.wrong(&Kind::Text),
        }
    }

    pub(crate) fn flag(&self) -> Option<bool> {
        match &self.node.value {
            Value::Bool(value) => Some(*value),
            Value::Text(text) if text == "true" => Some(true),
            Value::Text(text) if text == "false" => Some(false),
            _ => self.wrong(&Kind::Flag),
        }
    }

    pub(crate) fn integer(&self, min: i64, max: i64) -> Option<i64> {
        integer(&self.node.value)
            .filter(|value| (i128::from(min)..=i128::from(max)).contains(value))
            .and_then(|value| i64::try_from(value).ok())
            .or_else(|| self.wrong(&Kind::Integer(min, max)))
    }

    /// A number from 0 to 100.
    pub(crate) fn percent(&self) -> Option<f64> {
        let number = match &self.node.value {
            Value::Int(value) => i32::try_from(*value).ok().map(f64::from),
            Value::Float(value) => Some(*value),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        number.filter(|number| (0.0..=100.0).contains(number)).or_else(|| self.wrong(&Kind::Percent))
    }

    pub(crate) fn duration(&self) -> Option<Duration> {
        match &self.node.value {
            Value::Text(text) => duration(text),
            _ => None,
        }
        .or_else(|| self.wrong(&Kind::Duration))
    }

    /// One of `choices`, by name or number.
    pub(crate) fn choice<T: Copy>(&self, choices: &[Choice<T>]) -> Option<T> {
        match self.find_choice(choices) {
            Some((_, _, value)) => Some(*value),
            None => self.wrong(&Kind::Choice(choices.iter().map(|(name, ..)| *name).collect())),
        }
    }

    pub(crate) fn find_choice<'c, T>(&self, choices: &'c [Choice<T>]) -> Option<&'c Choice<T>> {
        match &self.node.value {
            Value::Text(text) => choices.iter().find(|(name, ..)| name.eq_ignore_ascii_case(text)),
            value => {
                let given = integer(value)?;
                choices.iter().find(|(_, number, _)| i128::from(*number) == given)
            }
        }
    }

    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        match &self.node.value {
            Value::Text(text) => base64::decode(text),
            _ => None,
        }
        .or_else(|| self.wrong(&Kind::Base64))
    }

    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match &self.node.value {
            Value::Text(text) => text.parse().ok(),
            _ => None,
        }
        .or_else(|| self.wrong(&Kind::Address))
    }

    pub(crate) fn parse<T: std::str::FromStr>(&self, kind: &Kind) -> Option<T> {
        match &self.node.value {
            Value::Text(text) => text.parse().ok(),
            _ => None,
        }
        .or_else(|| self.wrong(kind))
    }

    pub(crate) fn list(&self) -> Option<&'a [Node]> {
        match &self.node.value {
            Value::List(items) => Some(items),
            _ => self.wrong(&Kind::list(Kind::Text)),
        }
    }

    /// The entries of a map that should be the message `name`.
    pub(crate) fn entries(&self, name: &'static str) -> Option<&'a [Entry]> {
        match &self.node.value {
            Value::Map(entries) => Some(entries),
            _ => self.wrong(&Kind::Message(name)),
        }
    }
}

/// An integer as proto3 JSON writes it: a number without fraction, or one as text (64-bit values are written so).
fn integer(value: &Value) -> Option<i128> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Int(value) => Some(*value),
        #[expect(clippy::cast_possible_truncation, reason = "checked: no fraction, and small enough to be exact")]
        Value::Float(value) if value.fract() == 0.0 && value.abs() <= EXACT => Some(*value as i128),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// `1.5s`: seconds with up to nine decimals. Negative ones have no meaning in anything supported.
fn duration(text: &str) -> Option<Duration> {
    // The range of google.protobuf.Duration.
    const LONGEST: u64 = 315_576_000_000;
    let number = text.strip_suffix('s')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let seconds: u64 = whole.parse().ok().filter(|seconds| *seconds <= LONGEST)?;
    Some(Duration::new(seconds, format!("{fraction:0<9}").parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Value, duration, integer};

    #[test]
    fn durations() {
        let good = [("0s", 0, 0), ("1s", 1, 0), ("1.5s", 1, 500_000_000), ("0.000000001s", 0, 1), ("3600s", 3600, 0)];
        for (text, seconds, nanos) in good {
            assert_eq!(duration(text), Some(Duration::new(seconds, nanos)), "{text}");
        }
        let bad = [
            "",
            "s",
            "1",
            "1ms",
            "-1s",
            ".5s",
            "1.s",
            "1.0000000000s",
            "315576000001s",
            "1e3s",
            "+1s",
            "99999999999999999999s",
        ];
        for text in bad {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn integers() {
        let text = |t: &str| Value::Text(t.to_owned());
        for (value, expected) in [
            (Value::Int(5), Some(5)),
            (Value::Float(1e3), Some(1000)),
            (Value::Float(1.5), None),
            (Value::Float(f64::NAN), None),
            (Value::Float(f64::INFINITY), None),
            (text("12"), Some(12)),
            (text("1.5"), None),
            (text(""), None),
            (Value::Bool(true), None),
        ] {
            assert_eq!(integer(&value), expected, "{value:?}");
        }
    }
}
