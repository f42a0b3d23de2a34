//! The few knobs the kernel programs read, and how large their maps are.

/// The one entry of the configuration map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Knobs {
    /// The agent's own cgroup: what connects from there is never steered. Zero: no agent.
    pub agent_cgroup: u64,
    /// [`crate::ABI_VERSION`] of the agent that wrote the maps.
    pub abi: u32,
    /// [`crate::accelerate::Directions`].
    pub accelerate: u32,
}

/// Namespaces and cgroups that can be meshed on one node.
pub const MAX_WORKLOADS: u32 = 8192;

/// Addresses of workloads on one node.
pub const MAX_ADDRESSES: u32 = 4 * MAX_WORKLOADS;

/// Steered connections that may be between SYN-ACK and ACK at once. On loopback that takes microseconds; only handshakes that
/// the accepting side's full queue left half done stay longer.
pub const MAX_HANDSHAKES: u32 = 16384;

/// Destinations (CIDRs) that may be excluded.
pub const MAX_EXCLUDED_CIDRS: u32 = 4096;

/// Bytes of the ring of events: some 7000 records. The agent empties it a hundred times a second.
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

const _: () = assert!(size_of::<Knobs>() == 16);
