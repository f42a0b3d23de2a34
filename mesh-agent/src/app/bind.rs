//! The listeners of the configuration, bound in the agent's own namespace: one socket per data thread, all or none.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

use crate::model::listener::Listener;
use crate::model::name::ListenerName;

/// Connections that may wait to be accepted; the kernel's `net.core.somaxconn` caps it.
const BACKLOG: i32 = 4096;

/// Why a listener has no socket.
#[derive(Debug, thiserror::Error)]
#[error("listener {listener} cannot listen on {address}: {source}")]
pub struct BindError {
    /// The listener.
    listener: ListenerName,
    /// Its address.
    address: SocketAddr,
    /// What the kernel said.
    source: io::Error,
}

/// `threads` sockets that share the listener's address; the kernel spreads connections over them.
///
/// # Errors
/// The address is in use, also by a socket that would share it: two agents must not split one address's traffic unnoticed.
pub(super) fn bind(listener: &Listener, threads: usize) -> Result<Vec<TcpListener>, BindError> {
    let address = listener.address;
    let sockets = || {
        drop(socket(address, false)?);
        (0..threads).map(|_| socket(address, true)).collect::<io::Result<Vec<_>>>()
    };
    sockets().map_err(|source| BindError { listener: listener.name.clone(), address, source })
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
