//! Counters, histograms, open connections: what happens on the data path, recorded so that the data path does not notice.
//!
//! Each data thread records into storage of its own through a [`WorkerTelemetry`]; nothing is shared between data threads, and
//! sums are made by whoever reads. All of it is bounded: what finds no place is counted as such.

mod connections;
mod edge;
mod histogram;
mod past;
mod prometheus;
#[cfg(test)]
mod tests;
mod view;
mod worker;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

pub use connections::{ConnectionGuard, ConnectionInfo, Tier};
pub use edge::{Destination, Edge, EdgeTotals, Source, TcpGuard};
pub use histogram::{Distribution, Histogram};
pub use past::{Parties, PastTraffic};
pub use view::{ConnectionView, EdgeView};
pub use worker::{Protocol, WorkerTelemetry};

use worker::{Counters, Shard};

use crate::model::event::Event;
use crate::model::figures::Figures;
use crate::model::management::Standing;
use crate::model::name::ClusterName;

/// One counter that the kernel programs keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelCounter {
    /// In `snake_case`, without prefix and unit.
    pub name: &'static str,
    /// What it counts, as a sentence.
    pub help: &'static str,
    /// How often it happened since the programs were loaded.
    pub count: u64,
}

type KernelFigures = Box<dyn Fn() -> Figures + Send + Sync>;
type Management = Box<dyn Fn() -> Option<Standing> + Send + Sync>;
type KernelCounters = Box<dyn Fn() -> Vec<KernelCounter> + Send + Sync>;

/// All that is recorded, of all data threads.
pub struct Telemetry {
    shards: Vec<Arc<Shard>>,
    /// Of what goes past the data threads, recorded by whoever hears of it.
    past: Arc<Shard>,
    kernel: OnceLock<KernelCounters>,
    figures: OnceLock<KernelFigures>,
    management: OnceLock<Management>,
    started: Instant,
}

impl Telemetry {
    /// Storage for `workers` data threads.
    #[must_use]
    pub fn new(workers: usize) -> Arc<Self> {
        let shard = |index| Arc::new(Shard::new(index, workers + 1));
        let shards = (0..workers).map(shard).collect();
        Arc::new(Self {
            shards,
            past: shard(workers),
            kernel: OnceLock::new(),
            figures: OnceLock::new(),
            management: OnceLock::new(),
            started: Instant::now(),
        })
    }

    /// The handle of data thread `index`.
    ///
    /// # Panics
    /// If there is no such thread.
    #[must_use]
    pub fn worker(&self, index: usize) -> WorkerTelemetry {
        WorkerTelemetry::new(Arc::clone(&self.shards[index]))
    }

    /// Where connections that go past the agent are recorded. `parties` says who they are between. For one thread.
    #[must_use]
    pub fn past(&self, parties: impl FnMut(&Event) -> Option<Parties> + Send + 'static) -> PastTraffic {
        PastTraffic::new(WorkerTelemetry::new(Arc::clone(&self.past)), Box::new(parties))
    }

    /// Where the kernel programs' counters are read. Only the first call counts: there is one kernel side.
    pub fn set_kernel_counters(&self, read: impl Fn() -> Vec<KernelCounter> + Send + Sync + 'static) {
        let _ = self.kernel.set(Box::new(read));
    }

    /// Where it is read how full the kernel's maps are and what its programs cost. Only the first call counts.
    pub fn set_kernel_figures(&self, read: impl Fn() -> Figures + Send + Sync + 'static) {
        let _ = self.figures.set(Box::new(read));
    }

    /// Where it is read how it stands with the management server. Only the first call counts.
    pub fn set_management(&self, read: Management) {
        let _ = self.management.set(read);
    }

    /// Everything as Prometheus reads it (text format 0.0.4).
    #[must_use]
    pub fn prometheus(&self) -> String {
        prometheus::render(self)
    }

    /// Who talks to whom, in the order of names.
    #[must_use]
    pub fn edges(&self) -> Vec<EdgeView> {
        self.edge_totals().iter().map(|((from, to), totals)| EdgeView::new(from, to, totals)).collect()
    }

    /// Clusters that a connection of bytes goes to now, through the agent or past it.
    #[must_use]
    pub fn clusters_in_use(&self) -> HashSet<ClusterName> {
        let mut clusters = HashSet::new();
        for shard in self.all() {
            shard.for_each_edge(|_, destination, edge| {
                let mut totals = EdgeTotals::default();
                edge.add_to(&mut totals);
                if let (Destination::Cluster(name), 1..) = (destination, totals.tcp_active()) {
                    clusters.insert(name.clone());
                }
            });
        }
        clusters
    }

    /// Open connections, oldest first.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionView> {
        let now = Instant::now();
        let mut views = Vec::new();
        for shard in self.all() {
            // Cloned under the lock, rendered after it: the data thread waits for neither strings nor sorting.
            let open: Vec<_> = shard.connections().values().cloned().collect();
            views.extend(open.iter().map(|connection| connection.view(now)));
        }
        views.sort_by_key(|view| (std::cmp::Reverse(view.age_ms), view.id));
        views
    }

    /// Connections from clients open now.
    #[must_use]
    pub fn active_connections(&self) -> u64 {
        let closed = self.sum(|counters| &counters.connections_closed);
        self.sum(|counters| &counters.connections_opened).saturating_sub(closed)
    }

    fn edge_totals(&self) -> BTreeMap<(Source, Destination), EdgeTotals> {
        let mut totals: BTreeMap<_, EdgeTotals> = BTreeMap::new();
        for shard in self.all() {
            shard.for_each_edge(|source, destination, edge| {
                edge.add_to(totals.entry((source.clone(), destination.clone())).or_default());
            });
        }
        totals
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Shard>> {
        self.shards.iter().chain([&self.past])
    }

    /// Of the data threads.
    fn sum(&self, counter: impl Fn(&Counters) -> &AtomicU64) -> u64 {
        self.shards.iter().map(|shard| counter(&shard.counters).load(Ordering::Relaxed)).sum()
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("shards", &self.shards.len()).field("started", &self.started).finish()
    }
}
