//! What is not there until somebody needs it (`mesh.on_demand`), and when something was used last.
//!
//! A cluster or a route configuration that could be had is *cold*: named, not there, and worth asking for. That is a mark beside its
//! slot; what is neither there nor cold does not exist, as far as is known. Marks are shared between snapshots and change only when
//! something comes or goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::snapshot::slots::Slots;
use crate::snapshot::{ClusterSlot, RouteSlot};

/// Something that is not there and can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cold {
    /// A cluster.
    Cluster(ClusterSlot),
    /// A route configuration.
    Routes(RouteSlot),
    /// A virtual host of a route configuration.
    Host(RouteSlot, Arc<str>),
}

/// The time by which use is measured: seconds, as far as whoever owns it advances it. Copies show the same.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<AtomicU32>);

impl Clock {
    /// It is that late now.
    pub fn set(&self, seconds: u32) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    /// How late it is.
    #[must_use]
    pub fn now(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// When something was used last. Data threads write it, at most once for each turn of the clock; the control side reads it.
#[derive(Debug)]
pub struct Use {
    clock: Clock,
    last: AtomicU32,
}

impl Use {
    pub(super) fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), last: AtomicU32::new(clock.now()) }
    }

    /// It is used now.
    pub fn touch(&self) {
        let now = self.clock.now();
        // Most often somebody else was here a moment ago: a line that all threads read is not to be written each time.
        if self.last.load(Ordering::Relaxed) != now {
            self.last.store(now, Ordering::Relaxed);
        }
    }

    /// For how long it has not been used, in seconds.
    #[must_use]
    pub fn idle(&self) -> u32 {
        self.clock.now().saturating_sub(self.last.load(Ordering::Relaxed))
    }
}

/// Which slots are cold, as long as nothing is in them.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    clusters: Slots<()>,
    routes: Slots<()>,
}

impl Marks {
    pub(super) fn set(&mut self, what: &Cold, is_cold: bool) {
        let mark = is_cold.then(|| Arc::new(()));
        match what {
            Cold::Cluster(slot) => self.clusters.set(slot.index(), mark),
            Cold::Routes(slot) => self.routes.set(slot.index(), mark),
            // Its route configuration says so.
            Cold::Host(..) => {}
        }
    }

    pub(super) fn has(&self, what: &Cold) -> bool {
        match what {
            Cold::Cluster(slot) => self.clusters.get(slot.index()).is_some(),
            Cold::Routes(slot) => self.routes.get(slot.index()).is_some(),
            Cold::Host(..) => false,
        }
    }
}
