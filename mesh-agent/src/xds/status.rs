//! How it stands with the management server: written by the client, read by the operator's interface.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::model::management::{LastGood, Standing};
use crate::model::resource::ResourceKind;

/// Shared between the client's thread and whoever asks.
#[derive(Debug, Default)]
pub struct Status {
    now: Mutex<Standing>,
}

impl Status {
    /// How it stands now.
    #[must_use]
    pub fn view(&self) -> Standing {
        self.lock().clone()
    }

    pub(super) fn connected(&self, server: &str) {
        let mut now = self.lock();
        now.server = Some(server.to_owned());
        now.since = Some(SystemTime::now());
        now.streams += 1;
    }

    pub(super) fn failed(&self, text: &str) {
        let mut now = self.lock();
        if now.server.take().is_some() {
            now.since = Some(SystemTime::now());
        }
        now.failures += 1;
        now.last_failure = Some(text.to_owned());
    }

    pub(super) fn ignored(&self) {
        self.lock().ignored += 1;
    }

    pub(super) fn judged(&self, kind: ResourceKind, version: &str, held: usize, refusal: Option<String>) {
        let mut now = self.lock();
        let kind = now.kinds.entry(kind).or_default();
        kind.version.clear();
        kind.version.push_str(version);
        kind.at = Some(SystemTime::now());
        kind.updates += 1;
        kind.refused += u64::from(refusal.is_some());
        kind.refusal = refusal;
        kind.held = held;
    }

    pub(super) fn kept(&self, last_good: LastGood) {
        self.lock().last_good = Some(last_good);
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        // Plain values: a panic elsewhere leaves nothing half done that would matter.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
