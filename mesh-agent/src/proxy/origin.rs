//! Where an accepted connection comes from and where it wanted to go.
//!
//! A steered connection's original destination is the kernel programs' knowledge (outbound), or the accepted socket's own
//! address (inbound: `sk_lookup` hands the connection over without rewriting it). A connection to one of the agent's own listeners
//! went to that listener, unless the listener restores what `iptables` REDIRECT changed (`SO_ORIGINAL_DST`).

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;

use socket2::SockRef;
use tokio::net::TcpStream;

use crate::model::flow::{Direction, Pod, Steering};
use crate::model::listener::Listener;
use crate::proxy::connection::Origin;
use crate::telemetry::Source;

/// The origin of a connection that was steered in `pod`. `None` if the kernel programs do not know it: somebody connected to the
/// agent's port directly.
pub(super) fn steered(
    stream: &TcpStream,
    peer: SocketAddr,
    pod: &Arc<Pod>,
    direction: Direction,
    steering: &dyn Steering,
) -> Option<Origin> {
    let (destination, source) = match direction {
        Direction::Outbound => {
            (steering.original_destination(pod.id, stream.as_fd())?, Source::Workload(pod.workload.name.clone()))
        }
        Direction::Inbound => (stream.local_addr().ok()?, Source::Unknown),
    };
    let (peer, destination) = (outside(canonical(peer), pod, direction), canonical(destination));
    Some(Origin { peer, destination, pod: Some(Arc::clone(pod)), direction, source })
}

/// The origin of a connection to a listener of the agent's own. `None` if the client is gone already.
pub(super) fn bound(stream: &TcpStream, peer: SocketAddr, listener: &Listener) -> Option<Origin> {
    let local = stream.local_addr().ok()?;
    let redirected = if listener.catch_all { redirected_from(stream, local) } else { None };
    let (peer, destination) = (canonical(peer), canonical(redirected.unwrap_or(local)));
    let source = Source::Listener(listener.name.clone());
    Some(Origin { peer, destination, pod: None, direction: listener.direction, source })
}

fn redirected_from(stream: &TcpStream, local: SocketAddr) -> Option<SocketAddr> {
    let socket = SockRef::from(stream);
    let original = match local.ip() {
        IpAddr::V4(_) => socket.original_dst_v4(),
        IpAddr::V6(_) => socket.original_dst_v6(),
    };
    original.ok()?.as_socket()
}

/// A steered socket's own address is loopback, which says nothing to anybody outside its pod: there the app is known by the
/// pod's address. Its port stays, so that the two can still be matched.
fn outside(peer: SocketAddr, pod: &Pod, direction: Direction) -> SocketAddr {
    if direction == Direction::Inbound || !peer.ip().is_loopback() {
        return peer;
    }
    let same_family = |ip: &&IpAddr| ip.is_ipv4() == peer.is_ipv4();
    pod.workload.addresses.iter().find(same_family).map_or(peer, |&ip| SocketAddr::new(ip, peer.port()))
}

/// IPv4-mapped IPv6 addresses are IPv4 addresses (Java and Go connect to them).
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
