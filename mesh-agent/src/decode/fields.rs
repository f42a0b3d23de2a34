//! A message's fields: hands each out by name, remembers which were asked for, and reports what nobody asked for.
//!
//! That is how nothing is ever ignored in silence: a decoder supports exactly what it reads. The names asked for are also what
//! the error offers as alternatives and what `docs/config-reference.md` is generated from, so neither can be out of date.

mod any;
mod one_of;
mod only;

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderValue;

pub(crate) use any::{AnyDecoder, read_any};
pub(crate) use one_of::OneOf;

use crate::decode::at::{At, Choice, Context};
use crate::decode::kind::Kind;
use crate::decode::near::nearest;
use crate::decode::node::{Entry, Node, Value};
use crate::decode::place::Path;
use crate::decode::problem::Problem;
#[cfg(test)]
use crate::decode::reference;
use crate::model::name::LONGEST_NAME;

/// A map seen as one message.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    at: At<'a>,
    entries: &'a [Entry],
    #[cfg(test)]
    message: &'static str,
    /// Names asked for, and whether there is a choice of values.
    asked: RefCell<Vec<(&'static str, bool)>>,
}

/// Reads the whole of `root` as the message `name`.
pub(crate) fn decode_root<T>(
    root: &Node,
    name: &'static str,
    context: &Context,
    decode: impl FnOnce(&Fields<'_>) -> Option<T>,
) -> Option<T> {
    Fields::read(At { node: root, path: Path::root(""), context }, name, decode)
}

impl<'a> Fields<'a> {
    /// Runs `decode` over `at` and reports what it did not ask for.
    fn read<T>(at: At<'a>, name: &'static str, decode: impl FnOnce(&Fields<'_>) -> Option<T>) -> Option<T> {
        let entries = at.entries(name)?;
        let fields = Fields {
            at,
            entries,
            #[cfg(test)]
            message: name,
            asked: RefCell::new(Vec::with_capacity(16)),
        };
        let decoded = decode(&fields);
        fields.report_unknown();
        decoded
    }

    /// The message as a value, to report a problem that concerns all of it.
    pub(crate) fn at(&self) -> &At<'a> {
        &self.at
    }

    /// The value of a field that is set. Null counts as not set.
    pub(crate) fn get(&self, name: &'static str, kind: &Kind) -> Option<At<'_>> {
        self.ask(name, kind);
        let entry = self.find(name)?;
        (entry.value.value != Value::Null).then(|| At {
            node: &entry.value,
            path: self.at.path.field(name),
            context: self.at.context,
        })
    }

    /// The same, and an error if it is not there.
    pub(crate) fn require(&self, name: &'static str, kind: &Kind) -> Option<At<'_>> {
        let at = self.get(name, kind);
        if at.is_none() {
            self.missing(name);
        }
        at
    }

    /// Text. Empty text is the same as none, as it is in protobuf.
    pub(crate) fn text(&self, name: &'static str) -> Option<&str> {
        self.get(name, &Kind::Text)?.text().filter(|text| !text.is_empty())
    }

    /// A name by which something else is found. It is a key in tables, in requests and in logs, so it has a limit.
    pub(crate) fn name(&self, name: &'static str) -> Option<&str> {
        let text = self.text(name)?;
        if text.len() > LONGEST_NAME {
            self.get(name, &Kind::Text)?
                .report(Problem::TooMuch { what: "long", limit: format!("{LONGEST_NAME} bytes") });
            return None;
        }
        Some(text)
    }

    pub(crate) fn require_text(&self, name: &'static str) -> Option<&str> {
        let text = self.require(name, &Kind::Text)?.text()?;
        if text.is_empty() {
            self.missing(name);
            return None;
        }
        Some(text)
    }

    /// Text that becomes part of an HTTP message.
    pub(crate) fn header_value(&self, name: &'static str) -> Option<String> {
        let text = self.text(name)?;
        if HeaderValue::from_str(text).is_err()
            && let Some(at) = self.get(name, &Kind::Text)
        {
            at.rule("must be visible characters and spaces, as the value of a header is");
        }
        Some(text.to_owned())
    }

    pub(crate) fn flag(&self, name: &'static str, default: bool) -> bool {
        self.get(name, &Kind::Flag).and_then(|at| at.flag()).unwrap_or(default)
    }

    pub(crate) fn number(&self, name: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let kind = Kind::number(&range);
        let value = self.get(name, &kind)?.integer((*range.start()).into(), (*range.end()).into())?;
        u32::try_from(value).ok()
    }

    /// A port that can be listened on or connected to.
    pub(crate) fn port(&self, name: &'static str) -> Option<u16> {
        self.number(name, 1..=65535).and_then(|port| u16::try_from(port).ok())
    }

    pub(crate) fn duration(&self, name: &'static str) -> Option<Duration> {
        self.get(name, &Kind::Duration)?.duration()
    }

    /// A duration of more than nothing.
    pub(crate) fn positive_duration(&self, name: &'static str) -> Option<Duration> {
        let at = self.get(name, &Kind::Duration)?;
        let duration = at.duration()?;
        if duration.is_zero() {
            at.rule("must be more than 0s");
        }
        Some(duration)
    }

    /// A limit: `default` if not set, none if `0s`.
    pub(crate) fn limit(&self, name: &'static str, default: Option<Duration>) -> Option<Duration> {
        match self.duration(name) {
            Some(duration) => (!duration.is_zero()).then_some(duration),
            None => default,
        }
    }

    /// One of `choices`; the first if not set.
    pub(crate) fn choice<T: Copy>(&self, name: &'static str, choices: &[Choice<T>]) -> T {
        self.choice_or_later(name, choices, &[]).unwrap_or(choices[0].2)
    }

    /// The same where Envoy has more values, which are refused with a reason. `None` after an error.
    pub(crate) fn choice_or_later<T: Copy>(
        &self,
        name: &'static str,
        choices: &[Choice<T>],
        later: &[Choice<&'static str>],
    ) -> Option<T> {
        let kind = Kind::Choice(choices.iter().map(|(name, ..)| *name).collect());
        let Some(at) = self.get(name, &kind) else { return Some(choices[0].2) };
        if let Some((.., why)) = at.find_choice(later) {
            at.report(Problem::Refused(why));
            return None;
        }
        at.choice(choices)
    }

    pub(crate) fn message<T>(
        &self,
        name: &'static str,
        message: &'static str,
        decode: impl FnOnce(&Fields<'_>) -> Option<T>,
    ) -> Option<T> {
        Fields::read(self.get(name, &Kind::Message(message))?, message, decode)
    }

    pub(crate) fn require_message<T>(
        &self,
        name: &'static str,
        message: &'static str,
        decode: impl FnOnce(&Fields<'_>) -> Option<T>,
    ) -> Option<T> {
        Fields::read(self.require(name, &Kind::Message(message))?, message, decode)
    }

    /// Every value of a list that could be decoded.
    pub(crate) fn each<T>(&self, name: &'static str, of: Kind, mut decode: impl FnMut(&At<'_>) -> Option<T>) -> Vec<T> {
        let Some(list) = self.get(name, &Kind::list(of)) else { return Vec::new() };
        let items = list.list().unwrap_or_default();
        let at = |(index, node)| At { node, path: list.path.index(index), context: list.context };
        items.iter().enumerate().filter_map(|item| decode(&at(item))).collect()
    }

    /// Every message of a list that could be decoded.
    pub(crate) fn messages<T>(
        &self,
        name: &'static str,
        message: &'static str,
        mut decode: impl FnMut(&Fields<'_>) -> Option<T>,
    ) -> Vec<T> {
        self.each(name, Kind::Message(message), |at| Fields::read(*at, message, &mut decode))
    }

    /// Calls `visit` with the key and value of each entry of a map with free keys.
    pub(crate) fn free_map(&self, name: &'static str, of: Kind, mut visit: impl FnMut(&str, &At<'_>)) {
        let kind = Kind::Map(Box::new(of));
        let Some(map) = self.get(name, &kind) else { return };
        for entry in map.entries("map").unwrap_or_default() {
            visit(&entry.key, &At { node: &entry.value, path: map.path.field(&entry.key), context: map.context });
        }
    }

    /// The same where the values are messages.
    pub(crate) fn message_map(
        &self,
        name: &'static str,
        message: &'static str,
        mut visit: impl FnMut(&str, &Fields<'_>),
    ) {
        self.free_map(name, Kind::Message(message), |key, at| {
            Fields::read(*at, message, |fields| {
                visit(key, fields);
                Some(())
            });
        });
    }

    /// Reports that a field is not set.
    pub(crate) fn missing(&self, name: &'static str) {
        let path = self.at.path.field(name);
        At { path, ..self.at }.report(Problem::Missing);
    }

    fn ask(&self, name: &'static str, kind: &Kind) {
        #[cfg(test)]
        reference::record(self.message, name, kind, self.find(name).is_some());
        self.asked.borrow_mut().push((name, !matches!(kind, Kind::Refused(_) | Kind::Only(_))));
    }

    fn find(&self, name: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| is_named(&entry.key, name))
    }

    fn report_unknown(&self) {
        let asked = self.asked.borrow();
        let supported = || asked.iter().filter(|(_, supported)| *supported).map(|(name, _)| *name);
        for (index, entry) in self.entries.iter().enumerate() {
            if self.at.context.is_full() {
                return;
            }
            // A path is written out only when there is something to report: this runs for every field there is.
            let report = |problem| {
                let path = self.at.path.field(&entry.key);
                self.at.context.report(At { path, ..self.at }.place_at(entry.position), problem);
            };
            let Some((name, _)) = asked.iter().find(|(name, _)| is_named(&entry.key, name)) else {
                report(Problem::Unknown { near: nearest(&entry.key, supported()), supported: distinct(supported()) });
                continue;
            };
            if let Some(first) = self.entries[..index].iter().find(|first| is_named(&first.key, name)) {
                report(Problem::TwoSpellings(first.key.to_string(), entry.key.to_string()));
            }
        }
    }
}

/// Whether `key` is the field `name` (snake case) in either of the spellings that proto3 JSON accepts.
fn is_named(key: &str, name: &str) -> bool {
    key == name || {
        let mut key = key.bytes();
        let mut after_underscore = false;
        let camel = name.bytes().filter_map(|b| {
            let raised = std::mem::replace(&mut after_underscore, b == b'_');
            (b != b'_').then(|| if raised { b.to_ascii_uppercase() } else { b })
        });
        camel.into_iter().all(|b| key.next() == Some(b)) && key.next().is_none()
    }
}

fn distinct(names: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}
