//! By which address a workload's socket is known outside its pod: what rules mean, and what chooses where the client decides.

use mesh_common::flow::Addr;
use mesh_common::workload::Workload;

use crate::maps::POD_ADDRS;
use crate::socket::Socket;

/// The pod's address toward `destination`, unless the socket is bound to another that means something outside.
#[inline(always)]
pub(crate) fn source(workload: &Workload, socket: Socket, destination: Addr) -> Addr {
    let bound = socket.bound_addr();
    // SAFETY: the map is not preallocated: an entry that is replaced meanwhile is freed after this program has run.
    match unsafe { POD_ADDRS.get(workload.pod) } {
        Some(own) if bound.is_local() => own.facing(destination),
        _ => bound,
    }
}

/// The same where it only tells clients apart: one whose address nobody knows is the same to the agent.
#[inline(always)]
pub(crate) fn client(workload: &Workload, socket: Socket, destination: Addr) -> Addr {
    let source = source(workload, socket, destination);
    if source.is_local() { Addr::v4(0) } else { source }
}
