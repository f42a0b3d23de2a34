//! Every map. Names, keys and values are those of mesh-common; all are bounded, and none evicts.
//!
//! What belongs to one socket lies in socket storage: the kernel frees it with the socket, so no bound has to be guessed, no entry can
//! be left behind, and user space reads it by file descriptor.

use core::ptr;

use aya_ebpf::Global;
use aya_ebpf::bindings::bpf_map_type::BPF_MAP_TYPE_SK_STORAGE;
use aya_ebpf::bindings::{BPF_F_CLONE, BPF_F_NO_PREALLOC};
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::{Array, HashMap, LpmTrie, PerCpuArray, RingBuf, SockHash, SockMap};
use mesh_common::accelerate::{Leg, MAX_ACCELERATED, Pair};
use mesh_common::config::{
    EVENT_BYTES, Knobs, MAX_ADDRESSES, MAX_EXCLUDED_CIDRS, MAX_HANDSHAKES, MAX_RULE_ENTRIES, MAX_RULE_SETS, MAX_RULED,
    MAX_WORKLOADS, PORT_WORDS, Pulse,
};
use mesh_common::counter::Counter;
use mesh_common::datagram::Flows;
use mesh_common::flow::{Addr, FlowKey, Hidden, NetKey, PortBe};
use mesh_common::kept::Kept;
use mesh_common::policy::{PodAddrs, RuleNet, RulePort, RuleSet, RuleWho, RuledKey};
use mesh_common::service::{Block, Choice, ChoiceKey, MAX_BLOCKS, MAX_CHOICES, MAX_SERVICES, Service, ServiceKey};
use mesh_common::workload::{ListenerKey, Mode, Workload};

#[map]
pub(crate) static NETNS: HashMap<u64, Workload> = HashMap::with_max_entries(MAX_WORKLOADS, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static CGROUPS: HashMap<u64, Workload> = HashMap::with_max_entries(MAX_WORKLOADS, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static KNOBS: Array<Knobs> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static EXCLUDED_PORTS: Array<u64> = Array::with_max_entries(PORT_WORDS, 0);

#[map]
pub(crate) static EXCLUDED_CIDRS: LpmTrie<NetKey, u8> = LpmTrie::with_max_entries(MAX_EXCLUDED_CIDRS, 0);

/// An accepted socket begins with what its listener has there: the agent's listeners hand their mark on.
#[btf_map]
pub(crate) static KEPT: Inherited<Kept> = Inherited::new();

#[btf_map]
pub(crate) static FLOWS: SkStorage<Flows> = SkStorage::new();

#[map]
pub(crate) static HANDSHAKES: HashMap<FlowKey, Hidden> = HashMap::with_max_entries(MAX_HANDSHAKES, 0);

#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(EVENT_BYTES, 0);

#[map]
pub(crate) static SERVICES: HashMap<ServiceKey, Service> = HashMap::with_max_entries(MAX_SERVICES, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static CHOICES: HashMap<ChoiceKey, Choice> = HashMap::with_max_entries(2 * MAX_CHOICES, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static SLOTS: HashMap<ChoiceKey, Block> = HashMap::with_max_entries(2 * MAX_BLOCKS, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static SOCKETS: SockHash<FlowKey> = SockHash::with_max_entries(2 * MAX_ACCELERATED, 0);

#[btf_map]
pub(crate) static LEGS: SkStorage<Leg> = SkStorage::new();

#[map]
pub(crate) static PAIRS: HashMap<FlowKey, Pair> = HashMap::with_max_entries(MAX_ACCELERATED, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static LOCALS: HashMap<Addr, u64> = HashMap::with_max_entries(MAX_ADDRESSES, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static RULED: HashMap<RuledKey, u32> = HashMap::with_max_entries(MAX_RULED, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static RULE_SETS: HashMap<u32, RuleSet> = HashMap::with_max_entries(MAX_RULE_SETS, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static RULE_NETS: LpmTrie<RuleNet, u64> = LpmTrie::with_max_entries(MAX_RULE_ENTRIES, 0);

#[map]
pub(crate) static RULE_PORTS: LpmTrie<RulePort, u64> = LpmTrie::with_max_entries(MAX_RULE_ENTRIES, 0);

#[map]
pub(crate) static RULE_WHO: HashMap<RuleWho, u64> = HashMap::with_max_entries(MAX_RULE_ENTRIES, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static POD_ADDRS: HashMap<u32, PodAddrs> = HashMap::with_max_entries(MAX_WORKLOADS, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::ALL.len() as u32, 0);

#[map]
pub(crate) static CLAIMED: Array<u64> = Array::with_max_entries(PORT_WORDS + 1, 0);

#[map]
pub(crate) static OUTBOUND: SockHash<ListenerKey> = SockHash::with_max_entries(2 * MAX_WORKLOADS, 0);

#[map]
pub(crate) static PULSE: Array<Pulse> = Array::with_max_entries(1, 0);

#[map]
pub(crate) static LISTENERS: SockMap = SockMap::with_max_entries(2, 0);

/// The workload for which `inbound` was loaded: `sk_lookup` programs have no way to ask for the namespace they run in, so
/// each pod has an instance of its own.
#[unsafe(no_mangle)]
pub(crate) static POD: Global<Workload> = Global::new(Workload::new(0, Mode::Permissive, PortBe(0), PortBe(0)));

/// Socket storage that an accepted socket inherits from its listener. aya's type cannot say so.
#[repr(C)]
pub(crate) struct Inherited<T> {
    r#type: *const [i32; BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize],
}

impl<T> Inherited<T> {
    const fn new() -> Self {
        Self {
            r#type: ptr::null(),
            key: ptr::null(),
            value: ptr::null(),
            max_entries: ptr::null(),
            map_flags: ptr::null(),
        }
    }
}

// SAFETY: its fields are types for the loader to read; nothing is behind the pointers, and nobody follows them.
unsafe impl<T> Sync for Inherited<T> {}
