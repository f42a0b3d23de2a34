//! What becomes of a socket whose endpoint is gone.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::sockopt::socket_cookie;
use rustix::net::{Shutdown, connect, connect_unspec, shutdown};

use crate::kernel::direct::DirectSockets;
use crate::model::flow::Pod;
use crate::model::service::{ByClient, Lost, Protocol};
use crate::model::workload;
use crate::spread::maglev;

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
    workloads: &[Arc<Pod>],
    sockets: &DirectSockets,
) -> io::Result<Done> {
    let Some((service, owner)) = sockets.service_of(socket) else { return Ok(Done::NotOurs) };
    let Some(left) = lost.0.get(&(protocol, endpoint)).and_then(|services| services.get(&service)) else {
        return Ok(Done::NotOurs);
    };
    match protocol {
        Protocol::Tcp => reset(socket).map(|()| Done::Reset),
        Protocol::Udp => {
            let next = match &left.by_client {
                Some(by_client) => {
                    let pod = workloads.iter().find(|pod| pod.id == owner);
                    let pod = pod.ok_or_else(|| io::Error::other("its workload is gone"))?;
                    theirs(&pod.workload.addresses, service, by_client)
                }
                // Any number that differs from socket to socket spreads them.
                None => left.endpoints.get(socket_cookie(socket)? as usize % left.endpoints.len().max(1)),
            };
            let next = next.ok_or_else(|| io::Error::other("the service has no other endpoint"))?;
            // First what stands for the service: an answer of the new endpoint must not come as a stranger's.
            sockets.point(socket, service, *next)?;
            connect(socket, next).map_err(io::Error::from).map(|()| Done::Moved)
        }
    }
}

/// The endpoint that is the client's, as the kernel programs would choose it.
fn theirs<'a>(addresses: &[IpAddr], service: SocketAddr, by_client: &'a ByClient) -> Option<&'a SocketAddr> {
    let client = workload::known_as(addresses, service.is_ipv4());
    let member = maglev::member(&by_client.table, maglev::of_client(client))?;
    by_client.members.get(member as usize)
}

/// As an abort of the connection: the kernel forgets it and tells both sides.
fn reset(socket: BorrowedFd<'_>) -> io::Result<()> {
    match connect_unspec(socket) {
        // Some kernels refuse that while a thread waits in a call. Then the thread is woken, as by the other side's end.
        Err(Errno::BUSY) => Ok(shutdown(socket, Shutdown::Both)?),
        done => Ok(done?),
    }
}
