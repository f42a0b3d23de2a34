//! Destinations that are never steered, and ports of a pod that are.

use aya_ebpf::maps::lpm_trie::Key;
use mesh_common::config::{ALL_PORTS, port_bit};
use mesh_common::flow::{Addr, NetKey, PortBe};

use crate::maps::{CLAIMED, EXCLUDED_CIDRS, EXCLUDED_PORTS};

/// Whether this destination is left alone.
#[inline(always)]
pub(crate) fn is_excluded(addr: Addr, port: PortBe) -> bool {
    let (word, bit) = port_bit(port.get());
    EXCLUDED_PORTS.get(word).is_some_and(|bits| bits & bit != 0)
        || EXCLUDED_CIDRS.get(Key::new(NetKey::BITS, NetKey::new(addr))).is_some()
}

/// Whether the agent has something to do with what comes in to the pod at this port.
#[inline(always)]
pub(crate) fn is_claimed(port: PortBe) -> bool {
    let (word, bit) = port_bit(port.get());
    CLAIMED.get(ALL_PORTS).is_some_and(|all| *all != 0) || CLAIMED.get(word).is_some_and(|bits| bits & bit != 0)
}
