//! The list of open connections behind `mesh-agent connections`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::name::ListenerName;
use crate::telemetry::edge::{Destination, Source};
use crate::telemetry::view::ConnectionView;
use crate::telemetry::worker::{Protocol, Shard};

/// How much of a connection the agent looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Past the mesh: nothing of it applies.
    T0,
    /// In the kernel: the mesh chose the endpoint, and the agent never sees a byte.
    T1,
    /// Opaque bytes through the agent.
    T2,
    /// Messages: the agent parses them.
    T3,
}

impl Tier {
    /// Each one's name, at its place.
    const LABELS: [&str; 4] = ["T0", "T1", "T2", "T3"];
}

/// What is known of a connection when it is accepted.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Who made it.
    pub source: Source,
    /// The client's address.
    pub peer: SocketAddr,
    /// Where the client wanted to go.
    pub original_destination: Option<SocketAddr>,
    /// The listener that took it, if one did.
    pub listener: Option<ListenerName>,
}

/// A listed connection. What becomes known later has its own cells.
#[derive(Debug)]
pub(super) struct Connection {
    id: u64,
    info: ConnectionInfo,
    since: Instant,
    /// 0: not known yet; else the tier's place, counted from one.
    tier: AtomicU8,
    /// 0: not known yet; else the protocol's place in [`Protocol::ALL`], counted from one.
    protocol: AtomicU8,
    destination: Mutex<Option<Destination>>,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    /// In microseconds; 0: not known.
    round_trip: AtomicU64,
}

impl Connection {
    pub(super) fn new(id: u64, info: ConnectionInfo) -> Self {
        Self {
            id,
            info,
            since: Instant::now(),
            tier: AtomicU8::new(0),
            protocol: AtomicU8::new(0),
            destination: Mutex::new(None),
            bytes_sent: AtomicU64::new(0),
            bytes_received: AtomicU64::new(0),
            round_trip: AtomicU64::new(0),
        }
    }

    pub(super) fn view(&self, now: Instant) -> ConnectionView {
        let tier = usize::from(self.tier.load(Ordering::Relaxed)).checked_sub(1);
        let round_trip = self.round_trip.load(Ordering::Relaxed);
        let protocol = usize::from(self.protocol.load(Ordering::Relaxed)).checked_sub(1);
        let destination = self.destination.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ConnectionView {
            id: self.id,
            source: self.info.source.name().to_owned(),
            source_kind: self.info.source.kind().to_owned(),
            peer: self.info.peer,
            original_destination: self.info.original_destination,
            listener: self.info.listener.as_ref().map(|name| name.as_str().to_owned()),
            tier: tier.map(|place| Tier::LABELS[place].to_owned()),
            protocol: protocol.map(|place| Protocol::ALL[place].label().to_owned()),
            destination: destination.as_ref().map(|destination| destination.name().to_owned()),
            destination_kind: destination.as_ref().map(|destination| destination.kind().to_owned()),
            age_ms: u64::try_from(now.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX),
            bytes_sent: self.bytes_sent.load(Ordering::Relaxed),
            bytes_received: self.bytes_received.load(Ordering::Relaxed),
            rtt_us: (round_trip > 0).then_some(round_trip),
        }
    }
}

/// An open connection; off the list when dropped.
#[derive(Debug)]
pub struct ConnectionGuard {
    shard: Arc<Shard>,
    connection: Arc<Connection>,
}

impl ConnectionGuard {
    pub(super) fn new(shard: Arc<Shard>, connection: Arc<Connection>) -> Self {
        Self { shard, connection }
    }

    /// Number of the connection, unique while the agent runs: for logs.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.connection.id
    }

    /// The protocol was found, and with it how much of the connection the agent looks at.
    pub fn set_protocol(&self, protocol: Protocol, tier: Tier) {
        self.set_tier(tier);
        self.connection.protocol.store(protocol as u8 + 1, Ordering::Relaxed);
    }

    /// How much of the connection the agent looks at, where nobody looks for a protocol.
    pub fn set_tier(&self, tier: Tier) {
        self.connection.tier.store(tier as u8 + 1, Ordering::Relaxed);
    }

    /// A round trip takes so long.
    pub fn set_round_trip(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.connection.round_trip.store(micros, Ordering::Relaxed);
    }

    /// Where it goes, or where its last request went. Takes a lock that nobody else wants: call it when that changes.
    pub fn set_destination(&self, destination: impl Into<Destination>) {
        let destination = Some(destination.into());
        *self.connection.destination.lock().unwrap_or_else(PoisonError::into_inner) = destination;
    }

    /// Bytes came from the client.
    pub fn sent(&self, bytes: u64) {
        self.connection.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes went to the client.
    pub fn received(&self, bytes: u64) {
        self.connection.bytes_received.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.shard.closed(self.connection.id);
    }
}
