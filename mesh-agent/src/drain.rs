//! Graceful end: what is running may finish, until a hard deadline.
//!
//! [`Trigger`] starts it (a signal, `POST /drain`), [`Watcher`] is what every connection holds. Work that must not be cut off is
//! counted by [`Active`] guards, so the end is known, not guessed. A listener holds a guard too, until it has stopped
//! accepting: otherwise a connection between `accept` and its own guard would be missed.
//!
//! Where connections are steered, listeners close later than the end begins: whoever starts the end first has the kernel steer no
//! more, lets what it has steered arrive, and then says [`Trigger::close`].

mod signal;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::coop::unconstrained;

pub use signal::{SignalError, Signals};

/// How far the end has come. Only ever moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    Draining,
    /// Nothing comes any more.
    Closing,
    Ended,
}

/// How draining came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything finished by itself.
    Finished,
    /// The deadline came first.
    DeadlinePassed {
        /// Guards that were still held.
        left: usize,
    },
    /// [`Trigger::end`] was called.
    Cut {
        /// Guards that were still held.
        left: usize,
    },
}

#[derive(Debug)]
struct Shared {
    phase: watch::Sender<Phase>,
    /// Same as `phase != Running`, without the lock of `watch`: read once per request.
    draining: AtomicBool,
    active: AtomicUsize,
    /// Told when `active` falls to zero.
    idle: Notify,
}

/// Starts the end.
#[derive(Clone, Debug)]
pub struct Trigger {
    shared: Arc<Shared>,
}

/// Learns that the end has started. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
}

/// Something that draining waits for, until it is dropped.
#[derive(Debug)]
pub struct Active {
    shared: Arc<Shared>,
}

/// A trigger and what listens to it.
#[must_use]
pub fn pair() -> (Trigger, Watcher) {
    let shared = Arc::new(Shared {
        phase: watch::Sender::new(Phase::Running),
        draining: AtomicBool::new(false),
        active: AtomicUsize::new(0),
        idle: Notify::new(),
    });
    (Trigger { shared: Arc::clone(&shared) }, Watcher { shared })
}

impl Trigger {
    /// Tells every watcher to come to an end. Further calls do nothing.
    pub fn start(&self) {
        self.shared.advance(Phase::Draining);
    }

    /// Nothing is steered here any more, and what was has arrived: the listeners for it close.
    pub fn close(&self) {
        self.shared.advance(Phase::Closing);
    }

    /// Ends it now: nothing is waited for any more.
    pub fn end(&self) {
        self.shared.advance(Phase::Ended);
    }

    /// Starts draining if nobody has, waits until no guard is held, for `timeout` at most, and ends.
    pub async fn finish(&self, timeout: Duration) -> Outcome {
        self.start();
        let outcome = tokio::select! {
            biased;
            () = self.shared.all_dropped() => Outcome::Finished,
            () = self.shared.reached(Phase::Ended) => Outcome::Cut { left: self.active() },
            () = tokio::time::sleep(timeout) => Outcome::DeadlinePassed { left: self.active() },
        };
        self.end();
        outcome
    }

    /// Guards held now.
    #[must_use]
    pub fn active(&self) -> usize {
        self.shared.active.load(Ordering::Acquire)
    }

    /// A watcher of this trigger.
    #[must_use]
    pub fn watcher(&self) -> Watcher {
        Watcher { shared: Arc::clone(&self.shared) }
    }
}

impl Watcher {
    /// Whether the end has started: no new work should be taken on.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    /// Waits until the end has started. Make this future once per connection, not once per request. Polled once, it wakes its
    /// task: the task's budget is not asked, or a busy one could find itself unregistered.
    pub fn signaled(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        unconstrained(async move { shared.reached(Phase::Draining).await })
    }

    /// Waits until nothing is steered here any more.
    pub fn closing(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        unconstrained(async move { shared.reached(Phase::Closing).await })
    }

    /// Waits until nothing is waited for any more: whoever owns running tasks drops them.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        async move { shared.reached(Phase::Ended).await }
    }

    /// Makes draining wait until the guard is dropped.
    #[must_use]
    pub fn active(&self) -> Active {
        self.shared.active.fetch_add(1, Ordering::Relaxed);
        Active { shared: Arc::clone(&self.shared) }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        if self.shared.active.fetch_sub(1, Ordering::Release) == 1 {
            self.shared.idle.notify_waiters();
        }
    }
}

impl Shared {
    fn advance(&self, phase: Phase) {
        self.draining.store(true, Ordering::Relaxed);
        self.phase.send_if_modified(|current| {
            let later = phase > *current;
            *current = phase.max(*current);
            later
        });
    }

    async fn reached(&self, phase: Phase) {
        let reached = self.phase.subscribe().wait_for(|current| *current >= phase).await.is_ok();
        assert!(reached, "`self` holds the sender, so the channel is open");
    }

    async fn all_dropped(&self) {
        loop {
            // Registered before the count is read: the last guard may be dropped between the two.
            let idle = self.idle.notified();
            if self.active.load(Ordering::Acquire) == 0 {
                return;
            }
            idle.await;
        }
    }
}
