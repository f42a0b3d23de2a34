//! The maps that hold policies, behind a trait: the kernel's own, and a fake for tests of what feeds them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, MapData};
use mesh_common::flow::PortBe;
use mesh_common::names;
use mesh_common::policy::{PodAddrs, RuleNet, RulePort, RuleSet, RuleWho, RuledKey};

use crate::kernel::maps::{TableError, forgotten, refused, take};
use crate::kernel::policy::compile::Compiled;
use crate::model::workload::known_as;

/// Where policies are kept.
pub(crate) trait PolicyMaps: Send {
    /// Writes a set that nothing names yet.
    fn put_set(&mut self, number: u32, compiled: &Compiled) -> Result<(), TableError>;
    /// Removes all sets but these.
    fn keep_sets(&mut self, numbers: &BTreeSet<u32>) -> Result<(), TableError>;
    /// The numbers of all sets.
    fn sets(&self) -> Result<BTreeMap<u32, RuleSet>, TableError>;
    /// Points a destination at a set, by one store.
    fn put_ruled(&mut self, key: &RuledKey, set: u32) -> Result<(), TableError>;
    /// It has no policy any more; not having had one is no error.
    fn drop_ruled(&mut self, key: &RuledKey) -> Result<(), TableError>;
    /// All destinations that have one.
    fn ruled(&self) -> Result<BTreeMap<RuledKey, u32>, TableError>;
    /// Says by which addresses a workload is known.
    fn put_pod(&mut self, pod: u32, addrs: PodAddrs) -> Result<(), TableError>;
    /// Forgets it.
    fn drop_pod(&mut self, pod: u32) -> Result<(), TableError>;
    /// The workloads whose addresses are said.
    fn pods(&self) -> Result<BTreeMap<u32, PodAddrs>, TableError>;
}

/// The kernel's maps.
pub(crate) struct KernelPolicies {
    ruled: HashMap<MapData, RuledKey, u32>,
    sets: HashMap<MapData, u32, RuleSet>,
    nets: LpmTrie<MapData, RuleNet, u64>,
    ports: LpmTrie<MapData, RulePort, u64>,
    who: HashMap<MapData, RuleWho, u64>,
    pods: HashMap<MapData, u32, PodAddrs>,
}

impl KernelPolicies {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, TableError> {
        Ok(Self {
            ruled: take(ebpf, names::RULED)?,
            sets: take(ebpf, names::RULE_SETS)?,
            nets: take(ebpf, names::RULE_NETS)?,
            ports: take(ebpf, names::RULE_PORTS)?,
            who: take(ebpf, names::RULE_WHO)?,
            pods: take(ebpf, names::POD_ADDRS)?,
        })
    }
}

impl PolicyMaps for KernelPolicies {
    fn put_set(&mut self, number: u32, compiled: &Compiled) -> Result<(), TableError> {
        for (&(side, network), &bits) in &compiled.nets {
            let (net, prefix) = network.to_kernel();
            let key = Key::new(64 + prefix, RuleNet { set: number, side, net });
            self.nets.insert(&key, bits, 0).map_err(refused(names::RULE_NETS))?;
        }
        for (&(first, length), &bits) in &compiled.ports {
            let key = RulePort { set: number, port: PortBe::new(first), pad: 0 };
            let key = Key::new(RulePort::BITS_BEFORE + u32::from(length), key);
            self.ports.insert(&key, bits, 0).map_err(refused(names::RULE_PORTS))?;
        }
        for (&pod, &bits) in &compiled.who {
            self.who.insert(RuleWho { set: number, pod }, bits, 0).map_err(refused(names::RULE_WHO))?;
        }
        self.sets.insert(number, compiled.set, 0).map_err(refused(names::RULE_SETS))
    }

    fn keep_sets(&mut self, numbers: &BTreeSet<u32>) -> Result<(), TableError> {
        let goes = |set: &u32| !numbers.contains(set);
        let sets: Vec<_> = self.sets.keys().filter(|key| key.as_ref().map_or(true, goes)).collect();
        for set in sets {
            forgotten(self.sets.remove(&set.map_err(refused(names::RULE_SETS))?), names::RULE_SETS)?;
        }
        let nets: Vec<_> =
            self.nets.keys().filter(|key| key.as_ref().map_or(true, |key| goes(&{ key.data().set }))).collect();
        for net in nets {
            forgotten(self.nets.remove(&net.map_err(refused(names::RULE_NETS))?), names::RULE_NETS)?;
        }
        let ports: Vec<_> =
            self.ports.keys().filter(|key| key.as_ref().map_or(true, |key| goes(&{ key.data().set }))).collect();
        for port in ports {
            forgotten(self.ports.remove(&port.map_err(refused(names::RULE_PORTS))?), names::RULE_PORTS)?;
        }
        let who: Vec<_> = self.who.keys().filter(|key| key.as_ref().map_or(true, |key| goes(&key.set))).collect();
        for who in who {
            forgotten(self.who.remove(&who.map_err(refused(names::RULE_WHO))?), names::RULE_WHO)?;
        }
        Ok(())
    }

    fn sets(&self) -> Result<BTreeMap<u32, RuleSet>, TableError> {
        self.sets.iter().collect::<Result<_, _>>().map_err(refused(names::RULE_SETS))
    }

    fn put_ruled(&mut self, key: &RuledKey, set: u32) -> Result<(), TableError> {
        self.ruled.insert(key, set, 0).map_err(refused(names::RULED))
    }

    fn drop_ruled(&mut self, key: &RuledKey) -> Result<(), TableError> {
        forgotten(self.ruled.remove(key), names::RULED)
    }

    fn ruled(&self) -> Result<BTreeMap<RuledKey, u32>, TableError> {
        self.ruled.iter().collect::<Result<_, _>>().map_err(refused(names::RULED))
    }

    fn put_pod(&mut self, pod: u32, addrs: PodAddrs) -> Result<(), TableError> {
        self.pods.insert(pod, addrs, 0).map_err(refused(names::POD_ADDRS))
    }

    fn drop_pod(&mut self, pod: u32) -> Result<(), TableError> {
        forgotten(self.pods.remove(&pod), names::POD_ADDRS)
    }

    fn pods(&self) -> Result<BTreeMap<u32, PodAddrs>, TableError> {
        self.pods.iter().collect::<Result<_, _>>().map_err(refused(names::POD_ADDRS))
    }
}

/// The addresses a socket of a workload that is bound to none is taken to have. Without one of a family it is what the agent
/// would see.
pub(crate) fn pod_addrs(addresses: &[IpAddr]) -> PodAddrs {
    PodAddrs { v4: known_as(addresses, true).into(), v6: known_as(addresses, false).into() }
}

/// Maps that are no more than what was put into them, hold so many sets, and note each change.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct FakePolicies {
    pub(crate) sets: BTreeMap<u32, Compiled>,
    pub(crate) ruled: BTreeMap<RuledKey, u32>,
    pub(crate) pods: BTreeMap<u32, PodAddrs>,
    pub(crate) room: Option<usize>,
    pub(crate) log: Vec<String>,
}

#[cfg(test)]
impl PolicyMaps for std::sync::Arc<std::sync::Mutex<FakePolicies>> {
    fn put_set(&mut self, number: u32, compiled: &Compiled) -> Result<(), TableError> {
        let mut fake = self.lock().unwrap();
        if fake.room.is_some_and(|room| fake.sets.len() >= room) {
            return Err(TableError::Full { map: names::RULE_SETS });
        }
        fake.log.push(format!("set {number}"));
        fake.sets.insert(number, compiled.clone());
        Ok(())
    }

    fn keep_sets(&mut self, numbers: &BTreeSet<u32>) -> Result<(), TableError> {
        let mut fake = self.lock().unwrap();
        fake.log.push(format!("keep {numbers:?}"));
        fake.sets.retain(|number, _| numbers.contains(number));
        Ok(())
    }

    fn sets(&self) -> Result<BTreeMap<u32, RuleSet>, TableError> {
        Ok(self.lock().unwrap().sets.iter().map(|(number, compiled)| (*number, compiled.set)).collect())
    }

    fn put_ruled(&mut self, key: &RuledKey, set: u32) -> Result<(), TableError> {
        let mut fake = self.lock().unwrap();
        fake.log.push(format!("{} has {set}", key.port.get()));
        fake.ruled.insert(*key, set);
        Ok(())
    }

    fn drop_ruled(&mut self, key: &RuledKey) -> Result<(), TableError> {
        let mut fake = self.lock().unwrap();
        fake.log.push(format!("{} has none", key.port.get()));
        fake.ruled.remove(key);
        Ok(())
    }

    fn ruled(&self) -> Result<BTreeMap<RuledKey, u32>, TableError> {
        Ok(self.lock().unwrap().ruled.clone())
    }

    fn put_pod(&mut self, pod: u32, addrs: PodAddrs) -> Result<(), TableError> {
        let mut fake = self.lock().unwrap();
        if fake.room.is_some_and(|room| fake.pods.len() >= room) {
            return Err(TableError::Full { map: names::POD_ADDRS });
        }
        fake.pods.insert(pod, addrs);
        Ok(())
    }

    fn drop_pod(&mut self, pod: u32) -> Result<(), TableError> {
        self.lock().unwrap().pods.remove(&pod);
        Ok(())
    }

    fn pods(&self) -> Result<BTreeMap<u32, PodAddrs>, TableError> {
        Ok(self.lock().unwrap().pods.clone())
    }
}
