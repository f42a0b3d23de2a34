//! The one place where a new configuration goes live.
//!
//! The order is always the same: the kernel forgets what is removed, the proxy swaps its snapshot, the kernel learns what is
//! new. So the kernel never sends a connection to the agent that the proxy does not know. What the kernel can do alone is derived
//! from the very snapshot that the proxy gets ([`crate::tier`]).

use std::sync::Arc;

use crate::model::management::ConfigSource;
use crate::model::service::{ByKernel, Shortcuts};
use crate::snapshot::{Applied, Builder, Change, Clock, ClusterSlot, Publisher, Reader, Snapshot};
use crate::tier::{Follower, Step};

/// Builds snapshots and publishes them.
#[derive(Debug, Default)]
pub struct Rollout {
    builder: Builder,
    publisher: Publisher,
    tier: Follower,
    current: Arc<Snapshot>,
}

impl Rollout {
    /// One in which clusters and routes are asked for on demand.
    #[must_use]
    pub fn on_demand(clusters: ConfigSource, clock: Clock) -> Self {
        Self { builder: Builder::default().on_demand(clusters, clock), ..Self::default() }
    }

    /// One in which virtual hosts alone are.
    #[must_use]
    pub fn with_clock(clock: &Clock) -> Self {
        Self { builder: Builder::default().with_clock(clock), ..Self::default() }
    }

    /// Takes changes in, and makes live at once whatever can be.
    pub fn change(&mut self, changes: Vec<Change>, kernel: &mut dyn Shortcuts) -> Applied {
        let mut applied = self.builder.apply(changes);
        if let Some(snapshot) = applied.snapshot.take() {
            self.go_live(snapshot, applied.clusters.as_deref(), kernel);
        }
        applied.superseded.drain(..).for_each(|chain| chain.supersede());
        applied
    }

    /// What does not go live yet, and what it waits for.
    #[must_use]
    pub fn builder(&self) -> &Builder {
        &self.builder
    }

    /// What a kernel side does by itself under what is live: to be told to one that was not there before.
    #[must_use]
    pub fn by_kernel(&self) -> &ByKernel {
        self.tier.now()
    }

    fn go_live(&mut self, snapshot: Snapshot, clusters: Option<&[ClusterSlot]>, kernel: &mut dyn Shortcuts) {
        let step = self.tier.follow(&snapshot, clusters);
        if step == Step::All {
            kernel.forget(self.tier.now());
        }
        self.current = self.publisher.publish(snapshot);
        match step {
            Step::Nothing => {}
            // No service goes, so there is nothing to be forgotten.
            Step::Services(keys) => kernel.change(self.tier.now(), &keys),
            Step::All => kernel.learn(self.tier.now()),
        }
    }

    /// A reader of what is live, for one thread.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.publisher.reader()
    }

    /// What is live now.
    #[must_use]
    pub fn current(&self) -> &Arc<Snapshot> {
        &self.current
    }
}
