//! From a connection with a known origin to the filter that carries it: detect if need be, choose the chain, hand over.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::model::authz::{self, Facts, Rules};
use crate::model::flow::Direction;
use crate::model::listener::Detect;
use crate::proxy::connection::{Connection, Origin};
use crate::proxy::detect::{Detected, detect};
use crate::proxy::worker::Worker;
use crate::proxy::{chain, http, opaque, tcp};
use crate::snapshot::{LiveFilter, LiveListener, Snapshot};
use crate::telemetry::{ConnectionInfo, Destination, Protocol};

/// Carries one connection to its end.
pub(super) async fn connection(
    worker: &Rc<Worker>,
    snapshot: &Snapshot,
    listener: Option<&Arc<LiveListener>>,
    origin: Origin,
    stream: TcpStream,
) {
    let listed = worker.telemetry.connection(ConnectionInfo {
        source: origin.source.clone(),
        peer: origin.peer,
        original_destination: Some(origin.destination),
        listener: listener.map(|listener| listener.config.name.clone()),
    });
    let mut connection = Connection { stream, read_ahead: BytesMut::new(), origin: Rc::new(origin), listed };
    let Some(listener) = listener else {
        worker.telemetry.passed_through();
        return opaque::pass_through(worker, connection).await;
    };
    let protocol = match listener.config.detect {
        None => None,
        Some(how) => match look(worker, &mut connection, how).await {
            Some(protocol) => Some(protocol),
            None => return,
        },
    };
    let chain = chain::choose(listener, &connection.origin, protocol);
    if let Some(chain) = chain
        && !may_go_on(worker, &connection.origin, &chain.authorization)
    {
        return turn_away(connection).await;
    }
    match chain.map(|chain| &chain.filter) {
        // Boxed: the two kinds of connection differ much in size, and each task is as large as the larger one.
        Some(LiveFilter::Http(chain)) => Box::pin(http::serve(worker, connection, chain)).await,
        Some(LiveFilter::Tcp(chain)) => opaque::proxy(worker, snapshot, connection, chain).await,
        None => {
            tracing::debug!(listener = %listener.config.name, peer = %connection.origin.peer, "no filter chain matches");
            refuse(&connection);
        }
    }
}

/// Ends a connection that the policy refuses. To one that was not steered it is an end in order, for which what the client has
/// sent already must be read: closing a socket with bytes in it is a reset.
async fn turn_away(connection: Connection) {
    if connection.origin.pod.is_some() {
        return refuse(&connection);
    }
    let mut rest = connection.stream.take(MOST_DISCARDED);
    let _ = rest.get_mut().shutdown().await;
    let _ = tokio::time::timeout(LAST_WORDS, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
}

/// Asks the policy; a refusal is counted as the agent's answer.
fn may_go_on(worker: &Worker, origin: &Origin, rules: &[Rules]) -> bool {
    if rules.is_empty() {
        return true;
    }
    // Outbound it is the workload whose socket it is; inbound, a workload of this node is known by its address.
    let client = match (&origin.pod, origin.direction) {
        (Some(pod), Direction::Outbound) => Some(Arc::clone(pod)),
        _ => worker.local_pod(origin.peer.ip()),
    };
    let identity = client.as_ref().map(|pod| &*pod.identity);
    let facts = Facts { source: origin.peer.ip(), destination: origin.destination, identity };
    match authz::judge(rules, &facts) {
        Ok(()) => true,
        Err(refusal) => {
            tracing::debug!(peer = %origin.peer, destination = %origin.destination, policy = refusal.name(), "denied");
            worker.telemetry.edge(&origin.source, Destination::Agent).error("denied_policy");
            false
        }
    }
}

/// Detects the protocol. `None`: the connection is to be closed.
async fn look(worker: &Worker, connection: &mut Connection, how: Detect) -> Option<Protocol> {
    let destination = connection.origin.destination;
    let patience = if worker.server_first.knows(destination) { Duration::ZERO } else { how.timeout };
    match detect(&mut connection.stream, &mut connection.read_ahead, patience).await {
        Ok(Detected::Protocol(protocol)) => {
            worker.telemetry.detected(protocol);
            Some(protocol)
        }
        // Nothing was awaited: its server speaks first.
        Ok(Detected::Silent) if patience.is_zero() => Some(Protocol::Opaque),
        Ok(Detected::Silent) => {
            worker.telemetry.detection_timed_out();
            how.continue_on_timeout.then_some(Protocol::Opaque)
        }
        Err(error) => {
            tracing::debug!(peer = %connection.origin.peer, %error, "client left during detection");
            None
        }
    }
}

/// A client that was steered believes it is connected already: only a reset tells it otherwise.
pub(super) fn refuse(connection: &Connection) {
    if connection.origin.pod.is_some() {
        tcp::reset(&connection.stream);
    }
}

/// What is read of a client that was turned away, and for how long, before its connection is cut after all.
const MOST_DISCARDED: u64 = 64 << 10;
const LAST_WORDS: Duration = Duration::from_secs(1);
