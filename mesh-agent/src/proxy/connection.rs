//! A downstream connection as the rest of the data path sees it: a stream, what was already read of it, and where it comes from.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::net::TcpStream;

use crate::model::flow::{Direction, Pod};
use crate::model::workload;
use crate::telemetry::{ConnectionGuard, Source};

/// An accepted connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// The client's stream.
    pub(super) stream: TcpStream,
    /// Bytes that detection has already read from it.
    pub(super) read_ahead: BytesMut,
    /// Where it comes from and where it wanted to go.
    pub(super) origin: Rc<Origin>,
    /// Its place in the list of open connections.
    pub(super) listed: ConnectionGuard,
}

/// Where a connection comes from and where it wanted to go.
#[derive(Debug)]
pub(super) struct Origin {
    /// The client.
    pub(super) peer: SocketAddr,
    /// Where the client connected to: the original destination of a steered connection, the listener's address otherwise.
    pub(super) destination: SocketAddr,
    /// The workload in whose namespace the connection was accepted; `None` for listeners of the agent's own.
    pub(super) pod: Option<Arc<Pod>>,
    /// Which way it goes, seen from that workload.
    pub(super) direction: Direction,
    /// Who it is, for telemetry.
    pub(super) source: Source,
}

impl Origin {
    /// The address that stands for the client where each shall come to the same endpoint again. Of a workload it is its own, as for the
    /// kernel programs.
    pub(super) fn known_as(&self) -> IpAddr {
        match (&self.pod, self.direction) {
            (Some(pod), Direction::Outbound) => workload::known_as(&pod.workload.addresses, self.destination.is_ipv4()),
            _ => self.peer.ip(),
        }
    }
}
