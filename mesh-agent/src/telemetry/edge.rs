//! Who talks to whom: one [`Edge`] per source and destination, counted on the thread that carries the traffic.
//!
//! A connection looks its edge up once per destination and keeps the handle; from then on a request costs a few relaxed adds on
//! memory that no other data thread writes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::model::name::{ClusterName, ListenerName, WorkloadName};
use crate::telemetry::histogram::{Distribution, Histogram};

/// Different error labels that an edge tells apart; the rest counts as `other`.
const ERROR_KINDS: usize = 24;

/// Where traffic comes from, as well as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// A workload of this node.
    Workload(WorkloadName),
    /// From outside, through a listener.
    Listener(ListenerName),
    /// Neither is known.
    Unknown,
    /// All that found no place of its own.
    Other,
}

/// Where traffic goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    /// A cluster.
    Cluster(ClusterName),
    /// A workload of this node, reached by its own address.
    Workload(WorkloadName),
    /// Its original destination, because no listener claims it.
    Passthrough,
    /// Nowhere: the agent answered by itself.
    Agent,
    /// All that found no place of its own.
    Other,
}

impl Source {
    /// What kind of name [`Self::name`] is.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Workload(_) => "workload",
            Self::Listener(_) => "listener",
            Self::Unknown => "unknown",
            Self::Other => "other",
        }
    }

    /// Its name; empty where the kind says all.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Workload(name) => name.as_str(),
            Self::Listener(name) => name.as_str(),
            Self::Unknown | Self::Other => "",
        }
    }
}

impl Destination {
    /// What kind of name [`Self::name`] is.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cluster(_) => "cluster",
            Self::Workload(_) => "workload",
            Self::Passthrough => "passthrough",
            Self::Agent => "agent",
            Self::Other => "other",
        }
    }

    /// Its name; empty where the kind says all.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Cluster(name) => name.as_str(),
            Self::Workload(name) => name.as_str(),
            Self::Passthrough | Self::Agent | Self::Other => "",
        }
    }
}

impl From<&ClusterName> for Destination {
    fn from(name: &ClusterName) -> Self {
        Self::Cluster(name.clone())
    }
}

impl From<&WorkloadName> for Destination {
    fn from(name: &WorkloadName) -> Self {
        Self::Workload(name.clone())
    }
}

/// Counters of one source and destination on one data thread.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Edge {
    statuses: [AtomicU64; 5],
    errors: [ErrorCell; ERROR_KINDS],
    errors_other: AtomicU64,
    /// Made at the first request: an edge that only carries TCP does without.
    durations: OnceLock<Histogram>,
    tcp_opened: AtomicU64,
    tcp_closed: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    connect_failures: AtomicU64,
    retransmits: AtomicU64,
}

#[derive(Debug, Default)]
struct ErrorCell {
    label: OnceLock<&'static str>,
    count: AtomicU64,
}

impl Edge {
    /// A request was answered, by whomever, `elapsed` after its head had arrived.
    pub fn request(&self, status: u16, elapsed: Duration) {
        let class = usize::from((status / 100).clamp(1, 5)) - 1;
        self.statuses[class].fetch_add(1, Ordering::Relaxed);
        self.durations.get_or_init(Histogram::default).record(elapsed);
    }

    /// The agent gave up on a request or a connection. `label` says why and comes from a small fixed set. If the client got
    /// an answer all the same, that is counted by [`Self::request`] too.
    pub fn error(&self, label: &'static str) {
        let cell = self.errors.iter().find(|cell| *cell.label.get_or_init(|| label) == label);
        cell.map_or(&self.errors_other, |cell| &cell.count).fetch_add(1, Ordering::Relaxed);
    }

    /// A connection to the destination could not be made.
    pub fn connect_failed(&self) {
        self.connect_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// The kernel sent segments again.
    pub fn retransmitted(&self, segments: u64) {
        self.retransmits.fetch_add(segments, Ordering::Relaxed);
    }

    /// A TCP connection is proxied, or goes past the agent, until the guard is dropped.
    #[must_use]
    pub fn tcp_open(self: &Arc<Self>) -> TcpGuard {
        self.tcp_opened.fetch_add(1, Ordering::Relaxed);
        TcpGuard { edge: Arc::clone(self) }
    }

    /// Adds this thread's counters to `total`.
    pub(super) fn add_to(&self, total: &mut EdgeTotals) {
        let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        for (total, cell) in total.statuses.iter_mut().zip(&self.statuses) {
            *total += load(cell);
        }
        for cell in &self.errors {
            if let Some(label) = cell.label.get() {
                *total.errors.entry(label).or_default() += load(&cell.count);
            }
        }
        if load(&self.errors_other) > 0 {
            *total.errors.entry("other").or_default() += load(&self.errors_other);
        }
        if let Some(durations) = self.durations.get() {
            durations.add_to(&mut total.durations);
        }
        // Closed before opened: read the other way round, active could come out negative.
        total.tcp_closed += load(&self.tcp_closed);
        total.tcp_opened += load(&self.tcp_opened);
        total.bytes_sent += load(&self.bytes_sent);
        total.bytes_received += load(&self.bytes_received);
        total.connect_failures += load(&self.connect_failures);
        total.retransmits += load(&self.retransmits);
    }
}

/// A proxied TCP connection; counts its bytes and, when dropped, its end.
#[derive(Debug)]
pub struct TcpGuard {
    edge: Arc<Edge>,
}

impl TcpGuard {
    /// Bytes went from source to destination.
    pub fn sent(&self, bytes: u64) {
        self.edge.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes came back.
    pub fn received(&self, bytes: u64) {
        self.edge.bytes_received.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for TcpGuard {
    fn drop(&mut self) {
        self.edge.tcp_closed.fetch_add(1, Ordering::Relaxed);
    }
}

/// An edge summed over all threads at one moment.
#[derive(Clone, Debug, Default)]
pub struct EdgeTotals {
    /// Answered requests by class of status: 1xx to 5xx.
    pub statuses: [u64; 5],
    /// What went wrong, by label.
    pub errors: std::collections::BTreeMap<&'static str, u64>,
    /// Times from a request's head to the end of its answer.
    pub durations: Distribution,
    /// TCP connections ever proxied.
    pub tcp_opened: u64,
    /// Those that ended.
    pub tcp_closed: u64,
    /// Bytes of TCP connections toward the destination.
    pub bytes_sent: u64,
    /// Bytes of TCP connections back.
    pub bytes_received: u64,
    /// Connections that could not be made.
    pub connect_failures: u64,
    /// Segments sent again on connections that the kernel measures.
    pub retransmits: u64,
}

impl EdgeTotals {
    /// All answered requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.statuses.iter().sum()
    }

    /// TCP connections open now.
    #[must_use]
    pub fn tcp_active(&self) -> u64 {
        self.tcp_opened.saturating_sub(self.tcp_closed)
    }
}
