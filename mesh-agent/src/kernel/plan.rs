//! What the maps should say, and what has to be done to make them say it. Pure.
//!
//! The order of the operations is the order of safety: workloads are forgotten first and learned last, so that while the
//! agent works on the maps the kernel knows too little (and lets pass), never something wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use mesh_common::config::{Knobs, port_bit};
use mesh_common::flow::NetKey;
use mesh_common::workload::Workload;

/// Everything the maps say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// The agent's knobs.
    pub(crate) knobs: Knobs,
    /// Workloads by the cookie of their namespace.
    pub(crate) netns: BTreeMap<u64, Workload>,
    /// Workloads by the id of their cgroup.
    pub(crate) cgroups: BTreeMap<u64, Workload>,
    /// Namespaces by the addresses of the workloads that live in them alone.
    pub(crate) locals: BTreeMap<IpAddr, u64>,
    /// Exclusions.
    pub(crate) excluded: Excluded,
}

/// Destinations that are never steered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Excluded {
    /// Words of the port bitmap that are not zero.
    pub(crate) ports: BTreeMap<u32, u64>,
    /// Networks.
    pub(crate) networks: BTreeSet<Network>,
}

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Network {
    address: IpAddr,
    prefix: u8,
}

/// One change of one map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MapOp {
    ForgetNetns(u64),
    ForgetCgroup(u64),
    ForgetLocal(IpAddr),
    Knobs(Knobs),
    Ports { word: u32, bits: u64 },
    Exclude(Network),
    Include(Network),
    LearnLocal(IpAddr, u64),
    LearnCgroup(u64, Workload),
    LearnNetns(u64, Workload),
}

impl State {
    /// The highest number of a workload; zero if there is none.
    pub(crate) fn last_pod(&self) -> u32 {
        self.netns.values().chain(self.cgroups.values()).map(|workload| workload.pod).max().unwrap_or(0)
    }
}

impl Excluded {
    pub(crate) fn new(ports: &[u16], networks: &[IpNet]) -> Self {
        let mut excluded = Self::default();
        for &port in ports {
            let (word, bit) = port_bit(port);
            *excluded.ports.entry(word).or_default() |= bit;
        }
        excluded.networks = networks.iter().copied().map(Network::from).collect();
        excluded
    }
}

impl From<IpNet> for Network {
    fn from(network: IpNet) -> Self {
        let network = network.trunc();
        Self { address: network.addr(), prefix: network.prefix_len() }
    }
}

impl Network {
    /// As it is read back from the kernel.
    pub(crate) fn from_kernel(key: NetKey, prefix: u32) -> Self {
        let address = IpAddr::from(key.addr);
        let before = NetKey::BITS_BEFORE + if address.is_ipv4() { MAPPED_BITS } else { 0 };
        Self { address, prefix: u8::try_from(prefix.saturating_sub(before)).unwrap_or(u8::MAX) }
    }

    /// As it is given to the kernel.
    pub(crate) fn to_kernel(self) -> (NetKey, u32) {
        let mapped = if self.address.is_ipv4() { MAPPED_BITS } else { 0 };
        (NetKey::new(self.address.into()), NetKey::BITS_BEFORE + mapped + u32::from(self.prefix))
    }
}

/// What turns `old` into `new`.
pub(crate) fn diff(old: &State, new: &State) -> Vec<MapOp> {
    let mut ops = Vec::new();
    ops.extend(missing(&old.netns, &new.netns).map(MapOp::ForgetNetns));
    ops.extend(missing(&old.cgroups, &new.cgroups).map(MapOp::ForgetCgroup));
    ops.extend(missing(&old.locals, &new.locals).map(MapOp::ForgetLocal));
    if old.knobs != new.knobs {
        ops.push(MapOp::Knobs(new.knobs));
    }
    let words: BTreeSet<u32> = old.excluded.ports.keys().chain(new.excluded.ports.keys()).copied().collect();
    for word in words {
        let bits = |state: &State| state.excluded.ports.get(&word).copied().unwrap_or(0);
        if bits(old) != bits(new) {
            ops.push(MapOp::Ports { word, bits: bits(new) });
        }
    }
    ops.extend(new.excluded.networks.difference(&old.excluded.networks).copied().map(MapOp::Exclude));
    ops.extend(old.excluded.networks.difference(&new.excluded.networks).copied().map(MapOp::Include));
    ops.extend(changed(&old.locals, &new.locals).map(|(address, cookie)| MapOp::LearnLocal(address, cookie)));
    ops.extend(changed(&old.cgroups, &new.cgroups).map(|(id, workload)| MapOp::LearnCgroup(id, workload)));
    ops.extend(changed(&old.netns, &new.netns).map(|(cookie, workload)| MapOp::LearnNetns(cookie, workload)));
    ops
}

fn missing<K: Copy + Ord, V>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> impl Iterator<Item = K> {
    old.keys().filter(|key| !new.contains_key(key)).copied()
}

fn changed<K: Copy + Ord, V: Copy + Eq>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> impl Iterator<Item = (K, V)> {
    new.iter().filter(|(key, value)| old.get(key) != Some(value)).map(|(key, value)| (*key, *value))
}

/// Bits of an IPv4-mapped address before the IPv4 address.
const MAPPED_BITS: u32 = 96;

#[cfg(test)]
mod tests;
