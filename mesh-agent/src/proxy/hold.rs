//! Holding: a request or a connection that needs what is cold waits here until that is live, or known not to exist.
//!
//! What a client sends meanwhile stays where it is, in its socket. Asking goes over one bounded channel for all threads, once for each
//! thing and thread; the answer is a snapshot in which it is not cold any longer. A hold ends at its deadline whatever happens.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::proxy::worker::Worker;
use crate::snapshot::{Cold, Snapshot};

/// Questions that may wait for the control side. Each thread has asked for a thing once: more are more things at a time.
const MOST_ASKED: usize = 1024;
/// Requests and connections that one thread holds.
const MOST_HELD: usize = 4096;

/// A data thread's way to ask for what is cold.
#[derive(Clone, Debug)]
pub struct Asker {
    asks: mpsc::Sender<Cold>,
    settled: watch::Receiver<()>,
    patience: Duration,
}

/// The control side's end: what is asked for, and the bell to ring when something is no longer cold.
#[derive(Debug)]
pub struct Asked {
    asks: mpsc::Receiver<Cold>,
    settled: watch::Sender<()>,
}

/// What asks, and what is asked. A hold lasts `patience` at most.
#[must_use]
pub fn asking(patience: Duration) -> (Asker, Asked) {
    let (sender, asks) = mpsc::channel(MOST_ASKED);
    let settled = watch::Sender::new(());
    (Asker { asks: sender, settled: settled.subscribe(), patience }, Asked { asks, settled })
}

#[cfg(test)]
impl Asker {
    /// Whether the bell has been rung since the last time, or since it was handed out.
    pub fn has_heard(&mut self) -> bool {
        let has = self.settled.has_changed().is_ok_and(|has| has);
        self.settled.mark_unchanged();
        has
    }
}

impl Asked {
    /// What is asked for next, with whatever else is waiting.
    pub async fn next(&mut self) -> Vec<Cold> {
        let mut asked = Vec::new();
        if self.asks.recv_many(&mut asked, MOST_ASKED).await == 0 {
            std::future::pending::<()>().await;
        }
        asked
    }

    /// Something that was cold is live, or is known not to exist, in the snapshot that is published.
    pub fn settle(&self) {
        self.settled.send_replace(());
    }
}

/// What one thread holds.
#[derive(Debug, Default)]
pub(super) struct Holds {
    asker: Option<Asker>,
    count: Cell<usize>,
    /// How many wait for each thing: the first of them has asked.
    waiting: RefCell<HashMap<Cold, usize>>,
}

/// Why something is not held any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotHeld {
    /// For too long already.
    Late,
    /// Too much is held or asked for.
    Full,
}

/// For how long one request or connection may be held, all in all.
#[derive(Debug, Default)]
pub(super) struct Until(Option<Instant>);

impl Holds {
    pub(super) fn new(asker: Option<Asker>) -> Self {
        Self { asker, ..Self::default() }
    }
}

impl Worker {
    /// Waits until something is not cold any more: the snapshot in which it isn't.
    pub(super) async fn hold(&self, cold: Cold, limit: &mut Until) -> Result<Arc<Snapshot>, NotHeld> {
        let Some(asker) = &self.holds.asker else { return Err(NotHeld::Late) };
        let start = Instant::now();
        let until = *limit.0.get_or_insert(start + asker.patience);
        let Some(_held) = Place::new(&self.holds, asker, cold.clone()) else {
            self.telemetry.not_held();
            return Err(NotHeld::Full);
        };
        let result = self.warm(&cold, asker.settled.clone(), until).await;
        self.telemetry.held(start.elapsed());
        result
    }

    async fn warm(
        &self,
        cold: &Cold,
        mut settled: watch::Receiver<()>,
        until: Instant,
    ) -> Result<Arc<Snapshot>, NotHeld> {
        loop {
            // Before the snapshot is looked at: what settles after that rings again.
            settled.mark_unchanged();
            let snapshot = self.snapshot();
            if !snapshot.is_cold(cold) {
                return Ok(snapshot);
            }
            match tokio::time::timeout_at(until, settled.changed()).await {
                Ok(Ok(())) => {}
                // In time, or there is nobody left to ask.
                Ok(Err(_)) | Err(_) => return Err(NotHeld::Late),
            }
        }
    }
}

/// A place among those that wait.
struct Place<'a> {
    holds: &'a Holds,
    cold: Cold,
}

impl<'a> Place<'a> {
    fn new(holds: &'a Holds, asker: &Asker, cold: Cold) -> Option<Self> {
        if holds.count.get() >= MOST_HELD {
            return None;
        }
        let mut waiting = holds.waiting.borrow_mut();
        if !waiting.contains_key(&cold) && asker.asks.try_send(cold.clone()).is_err() {
            return None;
        }
        *waiting.entry(cold.clone()).or_default() += 1;
        holds.count.set(holds.count.get() + 1);
        Some(Self { holds, cold })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.holds.waiting.borrow_mut();
        if let Some(count) = waiting.get_mut(&self.cold) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.cold);
            }
        }
        self.holds.count.set(self.holds.count.get() - 1);
    }
}
