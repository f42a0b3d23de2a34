//! Whether the agent is there, asked before anything is sent to it.
//!
//! Its listener lies in a map of sockets, out of which the kernel takes it when it closes: from then on, however the agent ended,
//! not one connection is sent to a port where nobody listens. An agent that hangs keeps its listener open; what tells is that it no
//! longer writes the time into the map of its pulse.

use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_map_lookup_elem, bpf_sk_release};
use mesh_common::decide::Failure;
use mesh_common::workload::ListenerKey;

use crate::maps::{OUTBOUND, PULSE};

/// Whether it listens here, and lives.
#[inline(always)]
pub(crate) fn listens(key: &ListenerKey) -> Result<(), Failure> {
    let map = (&raw const OUTBOUND).cast_mut().cast();
    // SAFETY: map and key are what the helper asks for; it answers null or a socket that is held until it is released.
    let listener = unsafe { bpf_map_lookup_elem(map, (&raw const *key).cast()) };
    if listener.is_null() {
        return Err(Failure::AgentGone);
    }
    // SAFETY: the socket was got above and is not used any more. Releasing what is held cannot fail.
    let _ = unsafe { bpf_sk_release(listener) };
    lives()
}

/// Whether it lives.
#[inline(always)]
pub(crate) fn lives() -> Result<(), Failure> {
    // SAFETY: takes nothing and reads a clock.
    let now = unsafe { bpf_ktime_get_ns() };
    match PULSE.get(0) {
        Some(pulse) if pulse.is_silent(now) => Err(Failure::AgentSilent),
        _ => Ok(()),
    }
}
