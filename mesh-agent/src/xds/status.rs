//! How it stands with the management server: written by the client, read by the operator's interface.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::model::resource::ResourceKind;
use crate::xds::session::Variant;

/// Shared between the client's thread and whoever asks.
#[derive(Debug)]
pub struct Status {
    variant: Variant,
    now: Mutex<StatusView>,
}

/// The state at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusView {
    /// Whom the stream that is open goes to.
    pub server: Option<String>,
    /// When it was opened, or when the last one ended.
    pub since: Option<SystemTime>,
    /// Streams that were opened so far.
    pub streams: u64,
    /// Attempts and streams that failed.
    pub failures: u64,
    /// The last failure.
    pub last_failure: Option<String>,
    /// Responses that could not be answered, because nobody asked for their type.
    pub ignored: u64,
    /// By kind, those that an answer came for.
    pub kinds: BTreeMap<ResourceKind, KindView>,
}

/// One kind of resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindView {
    /// Version of the last response.
    pub version: String,
    /// When it came.
    pub at: Option<SystemTime>,
    /// Responses.
    pub updates: u64,
    /// Those in which something was refused.
    pub refused: u64,
    /// Resources that are live.
    pub live: usize,
}

impl Status {
    pub(super) fn new(variant: Variant) -> Self {
        Self { variant, now: Mutex::default() }
    }

    /// Which form of the protocol is spoken.
    #[must_use]
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// How it stands now.
    #[must_use]
    pub fn view(&self) -> StatusView {
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

    pub(super) fn judged(&self, kind: ResourceKind, version: &str, live: usize, is_refused: bool) {
        let mut now = self.lock();
        let kind = now.kinds.entry(kind).or_default();
        kind.version.clear();
        kind.version.push_str(version);
        kind.at = Some(SystemTime::now());
        kind.updates += 1;
        kind.refused += u64::from(is_refused);
        kind.live = live;
    }

    fn lock(&self) -> MutexGuard<'_, StatusView> {
        // Plain values: a panic elsewhere leaves nothing half done that would matter.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
