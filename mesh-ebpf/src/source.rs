//! By which address a workload's socket is known outside its pod: what rules mean, and what chooses where the client decides.

use mesh_common::flow::Addr;
use mesh_common::service::client_hash;
use mesh_common::workload::Workload;

use crate::maps::POD_ADDRS;
use crate::socket::Socket;

/// The pod's address toward `destination`, unless the socket is bound to another that means something outside.
#[inline(always)]
pub(crate) fn source(workload: &Workload, socket: Socket, destination: Addr) -> Addr {
    known_as(workload.pod, socket.bound_addr(), destination)
}

/// What stands for it where it only tells clients apart: one whose address nobody knows is the same to the agent. A function of its own,
/// which the verifier walks by itself.
#[inline(never)]
pub(crate) fn client(pod: u32, bound: &Addr, destination: &Addr) -> u32 {
    let source = known_as(pod, *bound, *destination);
    client_hash(if source.is_local() { Addr::v4(0) } else { source })
}

#[inline(always)]
fn known_as(pod: u32, bound: Addr, destination: Addr) -> Addr {
    // SAFETY: the map is not preallocated: an entry that is replaced meanwhile is freed after this program has run.
    match unsafe { POD_ADDRS.get(pod) } {
        Some(own) if bound.is_local() => own.facing(destination),
        _ => bound,
    }
}
