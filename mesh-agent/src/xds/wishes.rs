//! Wishes on their way to the thread that sees to them, and that belong to no reply: somebody needs something now, or time has passed.
//!
//! Each wish follows from the ones before, so they must arrive in order, among those of replies too: whoever replies takes along what
//! still lies here. At most a few lie here for each name, for as long as a response is being judged.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Between one who wishes and one who takes.
#[derive(Debug)]
pub(super) struct Wishes<W> {
    waiting: Mutex<Vec<W>>,
    some: Notify,
}

impl<W> Default for Wishes<W> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), some: Notify::new() }
    }
}

impl<W> Wishes<W> {
    pub(super) fn add(&self, wishes: Vec<W>) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).extend(wishes);
        self.some.notify_one();
    }

    /// All there are now.
    pub(super) fn take(&self) -> Vec<W> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until there may be some.
    pub(super) async fn some(&self) {
        self.some.notified().await;
    }
}
