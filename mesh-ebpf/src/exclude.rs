//! Destinations that are never steered.

use aya_ebpf::maps::lpm_trie::Key;
use mesh_common::config::port_bit;
use mesh_common::flow::{Addr, NetKey, PortBe};

use crate::maps::{EXCLUDED_CIDRS, EXCLUDED_PORTS};

/// Whether this destination is left alone.
#[inline(always)]
pub(crate) fn is_excluded(addr: Addr, port: PortBe) -> bool {
    let (word, bit) = port_bit(port.get());
    EXCLUDED_PORTS.get(word).is_some_and(|bits| bits & bit != 0)
        || EXCLUDED_CIDRS.get(Key::new(NetKey::BITS, NetKey::new(addr))).is_some()
}
