//! What was refused and has not come better since: for operators, who ask later.

use std::collections::BTreeMap;
use std::sync::Arc;
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
    pub(super) version: Arc<str>,
    pub(super) at: Instant,
    pub(super) reason: String,
}

impl Refusals {
    /// Adds what has a name, as long as there is room: a server may make up names for ever.
    pub(super) fn add(&mut self, faults: &[Fault], version: &str, now: Instant) {
        let version = Arc::from(beginning(version));
        for fault in faults {
            let Some(name) = &fault.name else { continue };
            if self.0.len() < MOST_REFUSED || self.0.contains_key(name) {
                let reason = beginning(&fault.text).to_owned();
                let refusal = Refusal { version: Arc::clone(&version), at: now, reason };
                self.0.insert(Name::clone(name), refusal);
            }
        }
    }

    /// It was accepted, sent again as it is live, or it is gone.
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

/// As much of a text as operators are shown: a server may send megabytes.
fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

/// Names of one kind, or of one file.
pub(in crate::xds) const MOST_REFUSED: usize = 1000;
/// Bytes of a version, and of a reason.
const LONGEST: usize = 1024;
