//! What a peer may make us do for nothing: frames that cost it little and us more. The limits are Envoy's defaults.
//!
//! All counters are of one connection's whole life, set against what it did that was of use.

use crate::proxy::http::h2::reason::{Fault, Reason};

/// Frames with neither payload nor end that may follow each other.
const EMPTY: u32 = 1;
/// PRIORITY frames for each stream.
const PRIORITIES: u64 = 100;
/// WINDOW_UPDATE frames for each DATA frame of ours.
const WINDOW_UPDATES: u64 = 10;
/// Streams from which on the share of those that were reset early counts.
const RESETS: u64 = 500;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Guard {
    streams: u64,
    closed: u64,
    reset_early: u64,
    data_sent: u64,
    window_updates: u64,
    priorities: u64,
    empty: u32,
}

impl Guard {
    /// A stream was opened, by whichever side opens them.
    pub(super) fn stream(&mut self) {
        self.streams += 1;
    }

    pub(super) fn data_sent(&mut self) {
        self.data_sent += 1;
    }

    /// A frame of a message came; `idle`: without payload, and ending nothing.
    pub(super) fn message_frame(&mut self, idle: bool) -> Result<(), Fault> {
        self.empty = if idle { self.empty + 1 } else { 0 };
        calm(self.empty <= EMPTY, "empty frames")
    }

    pub(super) fn priority(&mut self) -> Result<(), Fault> {
        self.priorities += 1;
        calm(self.priorities <= PRIORITIES * (1 + self.streams), "PRIORITY frames")
    }

    pub(super) fn window_update(&mut self) -> Result<(), Fault> {
        self.window_updates += 1;
        let useful = 5 + 2 * (self.streams + WINDOW_UPDATES * self.data_sent);
        calm(self.window_updates <= useful, "WINDOW_UPDATE frames")
    }

    /// A client's stream is over. `early`: the client reset it within a second, before it was answered.
    pub(super) fn closed(&mut self, early: bool) -> Result<(), Fault> {
        self.closed += 1;
        self.reset_early += u64::from(early);
        // Below the limit: once even a flawless rest could not bring the share down.
        calm(!early || self.reset_early * 2 < self.closed.max(RESETS), "streams reset early")
    }
}

fn calm(is_calm: bool, what: &'static str) -> Result<(), Fault> {
    if is_calm { Ok(()) } else { Err(Fault::new(Reason::ENHANCE_YOUR_CALM, what)) }
}
