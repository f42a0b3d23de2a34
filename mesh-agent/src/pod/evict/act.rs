//! What becomes of a socket whose endpoint is gone.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::sockopt::socket_cookie;
use rustix::net::{Shutdown, connect, connect_unspec, shutdown};

use crate::kernel::direct::DirectSockets;
use crate::model::service::{Lost, Protocol};

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// The app's next call fails with `ECONNRESET` (one that waits in a read, with `EPIPE` since Linux 6.7), and so does the
    /// other side's.
    Reset,
    /// The app's next datagram goes to another endpoint.
    Moved,
    /// No service that lost the endpoint led the socket there: the app asked for it by its own address.
    NotOurs,
}

/// Tells the app that has this socket.
pub(super) fn evict(
    socket: BorrowedFd<'_>,
    (protocol, endpoint): (Protocol, SocketAddr),
    lost: &Lost,
    sockets: &DirectSockets,
) -> io::Result<Done> {
    let Some(service) = sockets.service_of(socket) else { return Ok(Done::NotOurs) };
    let Some(left) = lost.0.get(&(protocol, endpoint)).and_then(|services| services.get(&service)) else {
        return Ok(Done::NotOurs);
    };
    match protocol {
        Protocol::Tcp => reset(socket).map(|()| Done::Reset),
        Protocol::Udp => {
            // Any number that differs from socket to socket spreads them.
            let next = socket_cookie(socket)? as usize % left.len().max(1);
            let next = left.get(next).ok_or_else(|| io::Error::other("the service has no other endpoint"))?;
            // First what stands for the service: an answer of the new endpoint must not come as a stranger's.
            sockets.point(socket, service, *next)?;
            connect(socket, next).map_err(io::Error::from).map(|()| Done::Moved)
        }
    }
}

/// As an abort of the connection: the kernel forgets it and tells both sides.
fn reset(socket: BorrowedFd<'_>) -> io::Result<()> {
    match connect_unspec(socket) {
        // Some kernels refuse that while a thread waits in a call. Then the thread is woken, as by the other side's end.
        Err(Errno::BUSY) => Ok(shutdown(socket, Shutdown::Both)?),
        done => Ok(done?),
    }
}
