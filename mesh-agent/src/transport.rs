//! From a target to a connected stream.
//!
//! A [`Target`] says all that makes two upstream connections interchangeable; it is also the key of the connection pool.

mod connect;
pub mod pool;
pub(crate) mod read;
mod stream;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use connect::{ConnectError, connect};
pub use read::expect_bytes_past_tcp;
pub use stream::{ReadHalf, Stream, WriteHalf};

use crate::identity::{Alpn, Client};
use crate::model::flow::{Pod, PodId};

/// Where a connection goes, from where, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// The peer.
    pub address: SocketAddr,
    /// In which network namespace the socket is opened; `None` is the agent's own.
    pub place: Option<Arc<Pod>>,
    /// Which client the accepting app is to see, where the kernel programs can show it.
    pub client: Option<SocketAddr>,
    /// How TLS is spoken to it, if it is, and what inside.
    pub tls: Option<(Arc<Client>, Alpn)>,
}

/// What two targets share whose connections can stand in for each other. The client's port does not count: an app that sees one
/// client's address sees the port of whichever of its connections opened this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TargetKey {
    address: SocketAddr,
    place: Option<PodId>,
    client: Option<IpAddr>,
    /// Whoever has other certificates, or trusts others, does not get the connection.
    tls: Option<u64>,
}

impl Target {
    /// The same, with TLS if there is a client for it.
    #[must_use]
    pub fn secured(self, client: Option<&Arc<Client>>, alpn: Alpn) -> Self {
        Self { tls: client.map(|client| (Arc::clone(client), alpn)), ..self }
    }

    /// The pool's key.
    #[must_use]
    pub fn key(&self) -> TargetKey {
        TargetKey {
            address: self.address,
            place: self.place.as_ref().map(|pod| pod.id),
            client: self.client.map(|client| client.ip()),
            tls: self.tls.as_ref().map(|(client, _)| client.id()),
        }
    }
}

impl TargetKey {
    /// The peer.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Which client shook hands, if any did.
    #[must_use]
    pub fn tls(&self) -> Option<u64> {
        self.tls
    }
}
