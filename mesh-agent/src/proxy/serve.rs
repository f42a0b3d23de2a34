//! From a connection with a known origin to the filter that carries it: detect if need be, choose the chain, hand over.

use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::net::TcpStream;

use crate::model::listener::Detect;
use crate::proxy::connection::{Connection, Origin};
use crate::proxy::detect::{Detected, detect};
use crate::proxy::worker::Worker;
use crate::proxy::{chain, http, opaque, tcp};
use crate::snapshot::{LiveFilter, LiveListener, Snapshot};
use crate::telemetry::{ConnectionInfo, Protocol};

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
    let filter = chain::choose(listener, &connection.origin, protocol).map(|chain| &chain.filter);
    match filter {
        // Boxed: the two kinds of connection differ much in size, and each task is as large as the larger one.
        Some(LiveFilter::Http(chain)) => Box::pin(http::serve(worker, connection, chain)).await,
        Some(LiveFilter::Tcp(chain)) => opaque::proxy(worker, snapshot, connection, chain).await,
        None => {
            tracing::debug!(listener = %listener.config.name, peer = %connection.origin.peer, "no filter chain matches");
            refuse(&connection);
        }
    }
}

/// Detects the protocol. `None`: the connection is to be closed.
async fn look(worker: &Worker, connection: &mut Connection, how: Detect) -> Option<Protocol> {
    let destination = connection.origin.destination;
    let patience = if worker.server_first.knows(destination) { std::time::Duration::ZERO } else { how.timeout };
    match detect(&mut connection.stream, &mut connection.read_ahead, patience).await {
        Ok(Detected::Protocol(protocol)) => {
            worker.telemetry.detected(protocol);
            Some(protocol)
        }
        Ok(Detected::Silent) => {
            worker.telemetry.detection_timed_out();
            (how.continue_on_timeout || patience.is_zero()).then_some(Protocol::Opaque)
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
