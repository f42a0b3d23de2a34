//! What the maps should say, and what has to be done to make them say it. Pure.
//!
//! The order of the operations is the order of safety: workloads are forgotten first and learned last, so that while the
//! agent works on the maps the kernel knows too little (and lets pass), never something wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use mesh_common::config::{Knobs, port_bit};
use mesh_common::flow::Addr;
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

/// A network as the kernel's trie has it: IPv4 is a part of IPv6, so its prefixes are longer by 96.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Network {
    bits: u128,
    prefix: u8,
}

/// One change of one map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MapOp {
    ForgetNetns(u64),
    ForgetCgroup(u64),
    Knobs(Knobs),
    Ports { word: u32, bits: u64 },
    Exclude(Network),
    Include(Network),
    LearnCgroup(u64, Workload),
    LearnNetns(u64, Workload),
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
        let (address, prefix) = match network.addr() {
            IpAddr::V4(address) => (address.to_ipv6_mapped(), network.prefix_len() + 96),
            IpAddr::V6(address) => (address, network.prefix_len()),
        };
        Self { bits: u128::from(address), prefix }
    }
}

impl Network {
    /// As it is read back from the kernel.
    pub(crate) fn from_kernel(address: Addr, prefix: u32) -> Self {
        Self { bits: u128::from_be_bytes(address.octets()), prefix: u8::try_from(prefix).unwrap_or(128) }
    }

    /// As it is given to the kernel.
    pub(crate) fn to_kernel(self) -> (Addr, u32) {
        (Addr::from(IpAddr::V6(self.bits.into())), u32::from(self.prefix))
    }
}

/// What turns `old` into `new`.
pub(crate) fn diff(old: &State, new: &State) -> Vec<MapOp> {
    let mut ops = Vec::new();
    ops.extend(missing(&old.netns, &new.netns).map(MapOp::ForgetNetns));
    ops.extend(missing(&old.cgroups, &new.cgroups).map(MapOp::ForgetCgroup));
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
    ops.extend(changed(&old.cgroups, &new.cgroups).map(|(id, workload)| MapOp::LearnCgroup(id, workload)));
    ops.extend(changed(&old.netns, &new.netns).map(|(cookie, workload)| MapOp::LearnNetns(cookie, workload)));
    ops
}

fn missing(old: &BTreeMap<u64, Workload>, new: &BTreeMap<u64, Workload>) -> impl Iterator<Item = u64> {
    old.keys().filter(|key| !new.contains_key(key)).copied()
}

fn changed(old: &BTreeMap<u64, Workload>, new: &BTreeMap<u64, Workload>) -> impl Iterator<Item = (u64, Workload)> {
    new.iter().filter(|(key, workload)| old.get(key) != Some(workload)).map(|(key, workload)| (*key, *workload))
}

#[cfg(test)]
mod tests;
