//! Wishes on their way to the client's thread that belong to no reply: somebody needs something now, or time has passed.
//!
//! Each wish follows from the ones before, so they must arrive in order, among those of replies too: whoever replies takes along what
//! still lies here. At most a few lie here for each name, for as long as a response is being judged.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::xds::delivery::Wish;

/// Between one who wishes and one who takes.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    waiting: Mutex<Vec<Wish>>,
    some: Notify,
}

impl Wishes {
    pub(super) fn add(&self, wishes: Vec<Wish>) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).extend(wishes);
        self.some.notify_one();
    }

    /// All there are now.
    pub(super) fn take(&self) -> Vec<Wish> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until there may be some.
    pub(super) async fn some(&self) {
        self.some.notified().await;
    }
}
