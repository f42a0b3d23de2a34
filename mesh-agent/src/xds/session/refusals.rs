//! What was refused and has not come better since: for operators, who ask later.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::xds::session::Name;
use crate::xds::session::update::Fault;

/// Of one kind of resources, by name.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<Name, Refusal>);

/// Why and when one was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    /// That of the response: what is refused may have none that can be read.
    pub(super) version: String,
    pub(super) at: Instant,
    pub(super) reason: String,
}

impl Refusals {
    /// Adds what has a name, as long as there is room: a server may make up names for ever.
    pub(super) fn add(&mut self, faults: &[Fault], version: &str, now: Instant) {
        for fault in faults {
            let Some(name) = &fault.name else { continue };
            if self.0.len() < MOST_REFUSED || self.0.contains_key(name) {
                let refusal = Refusal { version: version.to_owned(), at: now, reason: fault.text.clone() };
                self.0.insert(Name::clone(name), refusal);
            }
        }
    }

    /// It was accepted, or it is gone.
    pub(super) fn forget(&mut self, name: &Name) {
        self.0.remove(name);
    }

    /// Those that are not there any longer are no matter.
    pub(super) fn retain(&mut self, is_there: impl Fn(&Name) -> bool) {
        self.0.retain(|name, _| is_there(name));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Name, &Refusal)> {
        self.0.iter()
    }
}

/// Names of one kind, or of one file.
pub(in crate::xds) const MOST_REFUSED: usize = 1000;
