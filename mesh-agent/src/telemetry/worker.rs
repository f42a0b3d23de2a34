//! What one data thread counts, and its handle for doing so.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::telemetry::connections::{Connection, ConnectionGuard, ConnectionInfo};
use crate::telemetry::edge::{Destination, Edge, Source};

/// Edges that one thread tells apart; what comes later is counted together as `other`.
const MAX_EDGES: usize = 1024;
/// Connections that one thread lists; more are carried but not listed.
const MAX_LISTED: usize = 65_536;
/// Places kept when the list is empty.
const SPARE_LISTED: usize = 256;

/// What the first bytes of a connection turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.x.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// A TLS handshake.
    Tls,
    /// Anything else, or silence.
    Opaque,
}

impl Protocol {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Http1, Self::Http2, Self::Tls, Self::Opaque];

    /// As in metrics and tables.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Tls => "tls",
            Self::Opaque => "opaque",
        }
    }
}

/// One data thread's handle. Cheap to clone; only that thread should record through it, or cache lines begin to wander.
#[derive(Clone, Debug)]
pub struct WorkerTelemetry {
    shard: Arc<Shard>,
}

/// One data thread's storage.
#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) counters: Counters,
    edges: Mutex<HashMap<Source, HashMap<Destination, Arc<Edge>>>>,
    other: Arc<Edge>,
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
    next_connection: AtomicU64,
    index: u64,
    stride: u64,
}

/// Plain counters, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Counters {
    pub(super) connections_opened: AtomicU64,
    pub(super) connections_closed: AtomicU64,
    pub(super) connections_unlisted: AtomicU64,
    pub(super) detected: [AtomicU64; 4],
    pub(super) detection_timeouts: AtomicU64,
    pub(super) malformed_requests: AtomicU64,
    pub(super) passthrough_connections: AtomicU64,
    pub(super) edges_overflowed: AtomicU64,
    pub(super) held: AtomicU64,
    pub(super) held_nanos: AtomicU64,
    pub(super) not_held: AtomicU64,
}

impl WorkerTelemetry {
    pub(super) fn new(shard: Arc<Shard>) -> Self {
        Self { shard }
    }

    /// The counters of traffic from `source` to `destination`. Takes a lock that nobody else wants, and hashes: look it up
    /// once per connection and destination, and keep the handle.
    #[must_use]
    pub fn edge(&self, source: &Source, destination: impl Into<Destination>) -> Arc<Edge> {
        self.shard.edge(source, destination.into())
    }

    /// A client's connection was accepted; it is listed, and counts as active, until the guard is dropped.
    #[must_use]
    pub fn connection(&self, info: ConnectionInfo) -> ConnectionGuard {
        let shard = &self.shard;
        shard.counters.connections_opened.fetch_add(1, Ordering::Relaxed);
        let id = shard.next_connection.fetch_add(1, Ordering::Relaxed) * shard.stride + shard.index;
        let connection = Arc::new(Connection::new(id, info));
        let mut listed = shard.connections();
        if listed.len() < MAX_LISTED {
            listed.insert(id, Arc::clone(&connection));
        } else {
            shard.counters.connections_unlisted.fetch_add(1, Ordering::Relaxed);
        }
        drop(listed);
        ConnectionGuard::new(Arc::clone(shard), connection)
    }

    /// A connection's protocol was found.
    pub fn detected(&self, protocol: Protocol) {
        self.shard.counters.detected[protocol as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A client stayed silent for as long as it may, so its protocol was not found.
    pub fn detection_timed_out(&self) {
        self.shard.counters.detection_timeouts.fetch_add(1, Ordering::Relaxed);
    }

    /// A request or connection has been held for so long, because what it needs had to be asked for.
    pub fn held(&self, time: Duration) {
        self.shard.counters.held.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.shard.counters.held_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// One was refused instead, because there was no room.
    pub fn not_held(&self) {
        self.shard.counters.not_held.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was refused because it is malformed.
    pub fn malformed_request(&self) {
        self.shard.counters.malformed_requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection goes to its original destination because no listener claims it.
    pub fn passed_through(&self) {
        self.shard.counters.passthrough_connections.fetch_add(1, Ordering::Relaxed);
    }
}

impl Shard {
    pub(super) fn new(index: usize, workers: usize) -> Self {
        Self { index: index as u64, stride: workers as u64, ..Self::default() }
    }

    fn edge(&self, source: &Source, destination: Destination) -> Arc<Edge> {
        let mut edges = lock(&self.edges);
        if let Some(edge) = edges.get(source).and_then(|from| from.get(&destination)) {
            return Arc::clone(edge);
        }
        if edges.values().map(HashMap::len).sum::<usize>() >= MAX_EDGES {
            self.counters.edges_overflowed.fetch_add(1, Ordering::Relaxed);
            return Arc::clone(&self.other);
        }
        let edge = Arc::new(Edge::default());
        edges.entry(source.clone()).or_default().insert(destination, Arc::clone(&edge));
        edge
    }

    /// Calls `each` with every edge of this thread.
    pub(super) fn for_each_edge(&self, mut each: impl FnMut(&Source, &Destination, &Edge)) {
        for (source, destinations) in lock(&self.edges).iter() {
            for (destination, edge) in destinations {
                each(source, destination, edge);
            }
        }
        if self.counters.edges_overflowed.load(Ordering::Relaxed) > 0 {
            each(&Source::Other, &Destination::Other, &self.other);
        }
    }

    pub(super) fn connections(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        lock(&self.connections)
    }

    pub(super) fn closed(&self, id: u64) {
        let mut connections = self.connections();
        connections.remove(&id);
        if connections.is_empty() {
            // What a burst of connections took is given back.
            connections.shrink_to(SPARE_LISTED);
        }
        drop(connections);
        self.counters.connections_closed.fetch_add(1, Ordering::Relaxed);
    }
}

/// The maps stay whole whatever a thread that held them did: each change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
