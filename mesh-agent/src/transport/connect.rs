//! Opens one connection, in the right namespace, with TLS if that is wanted, within one deadline for all of it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::TcpSocket;

use crate::model::flow::Steering;
use crate::transport::{Stream, Target};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No socket could be opened: the namespace is gone, or descriptors are used up.
    #[error("no socket for {address}")]
    Socket {
        /// The peer.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The peer refused or can't be reached.
    #[error("no connection to {address}")]
    Refused {
        /// The peer.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The peer did not answer in time.
    #[error("{address} did not answer within {after:?}")]
    Timeout {
        /// The peer.
        address: SocketAddr,
        /// The cluster's `connect_timeout`.
        after: Duration,
    },
    /// The peer is connected, and there is no TLS with it.
    #[error("no TLS with {address}: {source}")]
    Tls {
        /// The peer.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A connection to `target`, with Nagle's algorithm off.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect(
    target: &Target,
    steering: Option<&dyn Steering>,
    timeout: Duration,
) -> Result<Stream, ConnectError> {
    let address = target.address;
    if let Some(Err(why)) = target.tls.as_ref().map(|(client, _)| client.is_ready()) {
        return Err(ConnectError::Tls { address, source: io::Error::other(&*why) });
    }
    let socket = open(target).map_err(|source| ConnectError::Socket { address, source })?;
    if let (Some(steering), Some(pod), Some(client)) = (steering, &target.place, target.client)
        && let Err(error) = steering.present_client(socket.as_fd(), pod.id, client)
    {
        tracing::debug!(%address, %client, %error, "the app will see the agent's address");
    }
    let connecting = TcpSocket::from_std_stream(socket.into()).connect(address);
    let connecting = async {
        let tcp = connecting.await.map_err(|source| ConnectError::Refused { address, source })?;
        match &target.tls {
            None => Ok(Stream::Plain(tcp)),
            // Boxed: a handshake is large, and most connections have none.
            Some((client, alpn)) => match Box::pin(client.connect(tcp, address.ip(), *alpn)).await {
                Ok(tls) => Ok(Stream::Secure(Box::new(tls))),
                Err(source) => Err(ConnectError::Tls { address, source }),
            },
        }
    };
    let timed_out = |_| ConnectError::Timeout { address, after: timeout };
    tokio::time::timeout(timeout, connecting).await.map_err(timed_out)?
}

fn open(target: &Target) -> io::Result<Socket> {
    let domain = Domain::for_address(target.address);
    let socket = match &target.place {
        Some(pod) => pod.netns.tcp(domain)?,
        None => Socket::new(domain, Type::STREAM.nonblocking().cloexec(), None)?,
    };
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}
