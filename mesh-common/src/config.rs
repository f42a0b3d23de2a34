//! The few knobs the kernel programs read, and how large their maps are.

/// The one entry of the configuration map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Knobs {
    /// The agent's own cgroup: what connects from there is never steered. Zero: no agent.
    pub agent_cgroup: u64,
    /// [`crate::ABI_VERSION`] of the agent that wrote the maps. Zero: none has, yet. At this place in every version, so that any
    /// agent can tell what it finds.
    pub abi: u32,
    /// [`crate::accelerate::Directions`].
    pub accelerate: u32,
}

/// The one entry of the map of the agent's pulse.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// The agent's last beat, in nanoseconds of the clock that counts while the machine runs (`CLOCK_MONOTONIC`): nobody can set
    /// it, and it stands still while the machine sleeps.
    pub at: u64,
    /// How long after a beat the agent counts as alive, in the same. Zero: no beat is expected.
    pub limit: u64,
}

impl Pulse {
    /// Whether the last beat is too long ago.
    #[inline(always)]
    #[must_use]
    pub const fn is_silent(&self, now: u64) -> bool {
        self.limit != 0 && now.saturating_sub(self.at) > self.limit
    }
}

/// Namespaces and cgroups that can be meshed on one node.
pub const MAX_WORKLOADS: u32 = 8192;

/// Addresses of workloads on one node.
pub const MAX_ADDRESSES: u32 = 4 * MAX_WORKLOADS;

/// Steered connections that may be between SYN-ACK and ACK at once. On loopback that takes microseconds; only handshakes that
/// the accepting side's full queue left half done stay longer. No larger than needed: every one of them has to find the map in a cache.
pub const MAX_HANDSHAKES: u32 = 4096;

/// Destinations (CIDRs) that may be excluded.
pub const MAX_EXCLUDED_CIDRS: u32 = 4096;

/// Destinations that have a policy.
pub const MAX_RULED: u32 = 16384;

/// Sets of rules, of which destinations with the same policy share one; those on their way out count, too.
pub const MAX_RULE_SETS: u32 = 8192;

/// Networks, blocks of ports and workloads that all sets tell apart.
pub const MAX_RULE_ENTRIES: u32 = 131_072;

/// Bytes of the ring of events: some 8000 records. The agent empties it twenty times a second, and at once when it fills.
pub const EVENT_BYTES: u32 = 1 << 20;

/// Bytes of the ring of one pod's inbound program, which reports refusals alone.
pub const INBOUND_EVENT_BYTES: u32 = 1 << 14;

/// A connection that goes on is reported at most every so many nanoseconds.
pub const REPORT_EVERY: u64 = 5_000_000_000;

/// Words of the bitmap of excluded ports.
pub const PORT_WORDS: u32 = 65536 / 64;

/// The word after them, in the bitmap of ports that the agent claims: not zero, it claims all.
pub const ALL_PORTS: u32 = PORT_WORDS;

/// How many levels of cgroups are searched upwards for a workload that shares its namespace.
pub const CGROUP_LEVELS: u32 = 16;

/// Word of the bitmap of excluded ports in which a port is, and its bit there.
#[inline(always)]
#[must_use]
pub const fn port_bit(port: u16) -> (u32, u64) {
    ((port / 64) as u32, 1 << (port % 64))
}

/// Where [`Knobs::abi`] is in the value, in every version.
pub const ABI_AT: usize = core::mem::offset_of!(Knobs, abi);

const _: () = assert!(size_of::<Knobs>() == 16 && ABI_AT == 8);
const _: () = assert!(size_of::<Pulse>() == 16);

#[cfg(test)]
mod tests {
    use super::Pulse;

    #[test]
    fn a_pulse_counts_for_as_long_as_it_says() {
        let pulse = Pulse { at: 1_000, limit: 50 };
        // Read on one CPU just before it was written on another.
        assert!(!pulse.is_silent(990));
        assert!(!pulse.is_silent(1_050));
        assert!(pulse.is_silent(1_051));
        // Nobody has said that there would be beats.
        assert!(!Pulse::default().is_silent(u64::MAX));
    }
}
