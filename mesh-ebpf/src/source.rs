//! By which address a workload is known outside its pod: what rules mean, and what stands for it where the client decides.

use mesh_common::flow::Addr;
use mesh_common::service::client_hash;
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

/// What stands for a workload that asks for `destination`, where the client decides: its own address of that family, whatever the
/// socket is bound to. One and the same socket is bound at one time and not at another: UDP that has been connected is.
#[inline(always)]
pub(crate) fn client(workload: &Workload, destination: Addr) -> u32 {
    // Zero for IPv4, without a branch: the verifier would walk both.
    hash(workload.pod, destination.apart_from_mapped())
}

/// A function of its own that gets numbers only: what the verifier learnt of addresses here it would keep for all that follows, and
/// walk that once for each family.
#[inline(never)]
fn hash(pod: u32, v6: u32) -> u32 {
    // SAFETY: the map is not preallocated: an entry that is replaced meanwhile is freed after this program has run.
    client_hash(match unsafe { POD_ADDRS.get(pod) } {
        Some(own) if v6 == 0 => own.v4,
        Some(own) => own.v6,
        // There is no workload whose addresses were not told before.
        None => Addr::v4(0),
    })
}
