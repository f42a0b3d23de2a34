//! The sockets the agent listens with inside a pod.
//!
//! Per direction one port on `127.0.0.1` and `::1`, and per data worker one listener of each: the kernel spreads connections
//! over a `SO_REUSEPORT` group. Nothing outside the pod can reach loopback; the inbound listeners get what `sk_lookup` hands
//! to them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;

use mesh_common::flow::{Family, PortBe};
use socket2::{Domain, Protocol, Socket, Type};
use tracing::{debug, warn};

use crate::model::flow::Direction;
use crate::model::name::WorkloadName;
use crate::pod::netns::Netns;

/// Why a pod has no sockets.
#[derive(Debug, thiserror::Error)]
pub enum SocketsError {
    /// Not even on IPv4.
    #[error("workload {workload}: cannot listen on {address} in its network namespace; is its loopback interface up?")]
    Listen {
        /// Whose.
        workload: WorkloadName,
        /// Where.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The listeners of one direction.
#[derive(Debug)]
pub(crate) struct Listeners {
    port: u16,
    v4: Vec<TcpListener>,
    v6: Vec<TcpListener>,
}

impl Listeners {
    /// Opens them, at the usual port if it is free.
    pub(crate) fn open(
        workload: &WorkloadName,
        netns: &Netns,
        direction: Direction,
        workers: NonZeroUsize,
    ) -> Result<Self, SocketsError> {
        let usual = usual_port(direction);
        let open = |port| netns.enter(|| Self::open_here(port, workers));
        let mut listeners = open(usual);
        for _ in 0..ATTEMPTS {
            let Err(error) = &listeners else { break };
            debug!(%workload, port = usual, %error, "the usual port is taken; the kernel chooses one");
            listeners = open(0);
        }
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), usual);
        let listeners =
            listeners.map_err(|source| SocketsError::Listen { workload: workload.clone(), address, source })?;
        if listeners.v6.is_empty() {
            warn!(%workload, ?direction, "no IPv6 loopback in its network namespace: its IPv6 connections are not steered");
        }
        Ok(listeners)
    }

    fn open_here(port: u16, workers: NonZeroUsize) -> io::Result<Self> {
        let v4 = group(Ipv4Addr::LOCALHOST.into(), port, workers)?;
        let port = v4[0].local_addr()?.port();
        let v6 = match group(Ipv6Addr::LOCALHOST.into(), port, workers) {
            Ok(v6) => v6,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            // The kernel has no IPv6, or the namespace has it disabled.
            Err(_) => Vec::new(),
        };
        Ok(Self { port, v4, v6 })
    }

    /// The port, for those families that listen.
    pub(crate) fn port(&self, family: Family) -> PortBe {
        match family {
            Family::V4 => PortBe::new(self.port),
            Family::V6 if self.v6.is_empty() => PortBe(0),
            Family::V6 => PortBe::new(self.port),
        }
    }

    /// One listener of each family, to stand for its group.
    pub(crate) fn first(&self) -> impl Iterator<Item = (Family, &TcpListener)> {
        let v4 = self.v4.first().map(|listener| (Family::V4, listener));
        let v6 = self.v6.first().map(|listener| (Family::V6, listener));
        v4.into_iter().chain(v6)
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &TcpListener> {
        self.v4.iter().chain(&self.v6)
    }

    /// All of them, each with its worker.
    pub(crate) fn into_workers(self) -> impl Iterator<Item = (usize, TcpListener)> {
        self.v4.into_iter().enumerate().chain(self.v6.into_iter().enumerate())
    }
}

/// A `SO_REUSEPORT` group that nobody else is in. The first socket is bound without the option, which fails if anybody has the
/// port, even another agent; only then the option opens it to its siblings.
fn group(ip: IpAddr, port: u16, workers: NonZeroUsize) -> io::Result<Vec<TcpListener>> {
    let first = socket(ip)?;
    first.bind(&SocketAddr::new(ip, port).into())?;
    first.set_reuse_port(true)?;
    first.listen(BACKLOG)?;
    let first = TcpListener::from(first);
    let address = first.local_addr()?;
    let mut group = vec![first];
    for _ in 1..workers.get() {
        let next = socket(ip)?;
        next.set_reuse_port(true)?;
        next.bind(&address.into())?;
        next.listen(BACKLOG)?;
        group.push(next.into());
    }
    Ok(group)
}

fn socket(ip: IpAddr) -> io::Result<Socket> {
    let domain = if ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // Connections of an earlier agent that still wait out their time must not keep the port.
    socket.set_reuse_address(true)?;
    if ip.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Where other meshes listen as well, which makes them easy to recognise in `ss`.
const fn usual_port(direction: Direction) -> u16 {
    match direction {
        Direction::Outbound => 15001,
        Direction::Inbound => 15006,
    }
}

/// The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// A port the kernel chose for IPv4 may be taken on IPv6.
const ATTEMPTS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_shares_its_port_with_nobody_else() {
        let workers = NonZeroUsize::new(3).unwrap();
        let group = group(Ipv4Addr::LOCALHOST.into(), 0, workers).unwrap();
        let port = group[0].local_addr().unwrap().port();
        assert!(group.iter().all(|listener| listener.local_addr().unwrap().port() == port));
        let second = super::group(Ipv4Addr::LOCALHOST.into(), port, workers);
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn both_families_have_the_same_port() {
        let listeners = Listeners::open_here(0, NonZeroUsize::MIN).unwrap();
        assert_ne!(listeners.port(Family::V4), PortBe(0));
        if !listeners.v6.is_empty() {
            assert_eq!(listeners.port(Family::V4), listeners.port(Family::V6));
        }
    }
}
