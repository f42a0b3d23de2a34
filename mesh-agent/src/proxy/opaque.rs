//! Connections that are carried as bytes: to a cluster (`tcp_proxy`), or to where they wanted to go.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::identity::Alpn;
use crate::model::flow::{Direction, Steering};
use crate::proxy::connection::Connection;
use crate::proxy::detect::ServerFirst;
use crate::proxy::hold::{NotHeld, Until};
use crate::proxy::serve::refuse;
use crate::proxy::tcp::{self, CopyError, Progress, Speaker};
use crate::proxy::worker::Worker;
use crate::snapshot::{Cold, Snapshot, TcpChain};
use crate::telemetry::{ConnectionGuard, Destination, Protocol, TcpGuard, Tier};
use crate::transport::{Stream, Target};

/// Envoy's default of `connect_timeout`, for destinations that have no cluster to say otherwise.
const PASSTHROUGH_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Envoy's default of `TcpProxy.idle_timeout`.
const PASSTHROUGH_IDLE_TIMEOUT: Duration = Duration::from_hours(1);

/// Carries a connection to one of a TCP proxy's clusters.
pub(super) async fn proxy(worker: &Worker, snapshot: &Snapshot, connection: Connection, chain: &TcpChain) {
    let slot = chain.clusters.pick(worker.random());
    let held;
    let mut snapshot = snapshot;
    if snapshot.is_cold(&Cold::Cluster(slot)) {
        // Boxed: hardly any connection comes here.
        held = match Box::pin(worker.hold(Cold::Cluster(slot), &mut Until::default())).await {
            Ok(snapshot) => snapshot,
            Err(why) => return no_cluster(worker, &connection, if why == NotHeld::Full { "UO" } else { "NC" }),
        };
        snapshot = &held;
    }
    let Some(cluster) = snapshot.cluster(slot) else {
        return no_cluster(worker, &connection, "NC");
    };
    let client = chain.config.by_client.then(|| connection.origin.known_as());
    let Some(endpoint) = worker.pick(cluster, client) else {
        tracing::debug!(cluster = %cluster.name(), "no endpoint");
        worker
            .telemetry
            .edge(&connection.origin.source, Destination::Cluster(cluster.name().clone()))
            .error("no_healthy_upstream");
        return refuse(&connection);
    };
    let leg = Leg {
        target: worker.target(endpoint.address, &connection.origin).secured(cluster.tls.as_ref(), Alpn::None),
        destination: Destination::Cluster(cluster.name().clone()),
        connect_timeout: cluster.config.connect_timeout,
        idle_timeout: chain.config.idle_timeout,
    };
    carry(worker, connection, leg).await;
}

/// There is no cluster: counted as the agent's answer, which is a reset.
fn no_cluster(worker: &Worker, connection: &Connection, label: &'static str) {
    tracing::debug!(peer = %connection.origin.peer, label, "no cluster");
    worker.telemetry.edge(&connection.origin.source, Destination::Agent).error(label);
    refuse(connection);
}

/// Carries a connection to where it wanted to go.
pub(super) async fn pass_through(worker: &Worker, connection: Connection) {
    let origin = &connection.origin;
    let destination = match (origin.direction, &origin.pod) {
        (Direction::Inbound, Some(pod)) => Destination::Workload(pod.workload.name.clone()),
        _ => worker
            .local_pod(origin.destination.ip())
            .map_or(Destination::Passthrough, |pod| Destination::Workload(pod.workload.name.clone())),
    };
    let leg = Leg {
        target: worker.target(origin.destination, origin),
        destination,
        connect_timeout: PASSTHROUGH_CONNECT_TIMEOUT,
        idle_timeout: Some(PASSTHROUGH_IDLE_TIMEOUT),
    };
    carry(worker, connection, leg).await;
}

/// The upstream half of an opaque connection.
struct Leg {
    target: Target,
    destination: Destination,
    connect_timeout: Duration,
    idle_timeout: Option<Duration>,
}

async fn carry(worker: &Worker, connection: Connection, leg: Leg) {
    let edge = worker.telemetry.edge(&connection.origin.source, leg.destination.clone());
    connection.listed.set_protocol(Protocol::Opaque, Tier::T2);
    connection.listed.set_destination(leg.destination);
    let server = match worker.connect(&leg.target, leg.connect_timeout).await {
        Ok(server) => server,
        Err(error) => {
            tracing::debug!(peer = %connection.origin.peer, %error, "no upstream connection");
            edge.connect_failed();
            return refuse(&connection);
        }
    };
    let Connection { stream, read_ahead, origin, listed } = connection;
    let stream = Stream::Plain(stream);
    let memory = &worker.server_first;
    let steering = worker.steering.as_deref();
    let counts = Counts { steering, listed, edge: edge.tcp_open(), memory, destination: origin.destination };
    match tcp::copy(&stream, &server, read_ahead, leg.idle_timeout, &worker.scratch, &counts).await {
        Ok(()) => {}
        Err(CopyError::Idle(after)) => tracing::debug!(peer = %origin.peer, ?after, "idle connection closed"),
        Err(CopyError::Broken(error)) => {
            edge.error("connection_broken");
            tracing::debug!(peer = %origin.peer, %error, "connection broken");
        }
    }
}

struct Counts<'a> {
    steering: Option<&'a dyn Steering>,
    listed: ConnectionGuard,
    edge: TcpGuard,
    memory: &'a ServerFirst,
    destination: SocketAddr,
}

impl Progress for Counts<'_> {
    /// Noted at once: a connection to a database may live for days.
    fn first(&self, speaker: Speaker) {
        match speaker {
            Speaker::Server => self.memory.remember(self.destination),
            Speaker::Client => self.memory.forget(self.destination),
        }
    }

    fn sent(&self, bytes: u64) {
        self.listed.sent(bytes);
        self.edge.sent(bytes);
    }

    fn received(&self, bytes: u64) {
        self.listed.received(bytes);
        self.edge.received(bytes);
    }

    fn hides_bytes(&self, from: &TcpStream) -> bool {
        self.steering.is_some_and(|steering| steering.is_accelerated(from.as_fd()))
    }
}
