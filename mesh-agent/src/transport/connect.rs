//! Opens one TCP connection, in the right namespace, within a deadline.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use crate::model::flow::Steering;
use crate::transport::Target;

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
}

/// A connection to `target`, with Nagle's algorithm off.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect(
    target: &Target,
    steering: Option<&dyn Steering>,
    timeout: Duration,
) -> Result<TcpStream, ConnectError> {
    let address = target.address;
    let socket = open(target).map_err(|source| ConnectError::Socket { address, source })?;
    if let (Some(steering), Some(pod), Some(client)) = (steering, &target.place, target.client)
        && let Err(error) = steering.present_client(socket.as_fd(), pod.id, client)
    {
        tracing::debug!(%address, %client, %error, "the app will see the agent's address");
    }
    let connecting = TcpSocket::from_std_stream(socket.into()).connect(address);
    match tokio::time::timeout(timeout, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(source)) => Err(ConnectError::Refused { address, source }),
        Err(_) => Err(ConnectError::Timeout { address, after: timeout }),
    }
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
