//! Keeps the policies of one program's maps as they should be.
//!
//! A policy holds before what it is for: the set is written, then the destination is pointed at it, and only then the kernel
//! learns to go past the agent there. It goes the other way round, after the agent has taken the destination back. So at no
//! moment does a connection go past both.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use mesh_common::flow::PortBe;
use mesh_common::names;
use mesh_common::policy::{PodAddrs, RuledKey};
use tracing::warn;

use crate::kernel::levels::Entries;
use crate::kernel::maps::TableError;
use crate::kernel::policy::compile::Compiled;
use crate::kernel::policy::maps::PolicyMaps;
use crate::kernel::policy::names::RuleNames;

/// The policies of one program's maps.
pub(crate) struct PolicyTable {
    maps: Box<dyn PolicyMaps>,
    names: RuleNames,
    live: BTreeMap<RuledKey, u32>,
    sets: BTreeMap<u32, Compiled>,
    /// By which addresses the workloads are to be known.
    pods: BTreeMap<u32, PodAddrs>,
    /// And what the kernel was told, by an earlier agent too.
    told: BTreeMap<u32, PodAddrs>,
    /// Sets that something named at the last look. A program may have read their numbers just before, and still look for them.
    leaving: BTreeSet<u32>,
    /// Some set may be there that nothing names.
    litter: bool,
}

impl PolicyTable {
    /// Over maps in which an earlier agent may have left policies. They hold on until the first [`Self::prune`].
    pub(crate) fn new(maps: Box<dyn PolicyMaps>, names: RuleNames) -> Result<Self, TableError> {
        let live = maps.ruled()?;
        names.skip(maps.sets()?.keys().chain(live.values()).max().copied().unwrap_or(0));
        let told = maps.pods()?;
        Ok(Self {
            maps,
            names,
            live,
            sets: BTreeMap::new(),
            pods: told.clone(),
            told,
            leaving: BTreeSet::new(),
            litter: true,
        })
    }

    /// Makes these policies hold. Answers for which destinations that could not be done: they must not go past the agent.
    pub(crate) fn put(&mut self, next: &BTreeMap<SocketAddr, Compiled>) -> BTreeSet<SocketAddr> {
        let mut failed = BTreeSet::new();
        for (address, compiled) in next {
            if let Err(error) = self.put_one(key(*address), compiled) {
                warn!(%address, %error, "the kernel cannot hold this policy; connections there go through the agent");
                failed.insert(*address);
            }
        }
        failed
    }

    /// Takes away the policies of all other destinations.
    pub(crate) fn prune<T>(&mut self, next: &BTreeMap<SocketAddr, T>) {
        let keys: BTreeSet<_> = next.keys().map(|address| key(*address)).collect();
        for gone in self.live.keys().filter(|key| !keys.contains(key)).copied().collect::<Vec<_>>() {
            match self.maps.drop_ruled(&gone) {
                Ok(()) => self.leaving.extend(self.live.remove(&gone)),
                Err(error) => warn!(%error, "a policy stays in the kernel; trying again"),
            }
        }
        self.litter = true;
    }

    /// How much its maps hold.
    pub(crate) fn entries(&self) -> [Entries; 6] {
        let sum = |of: fn(&Compiled) -> usize| self.sets.values().map(of).sum();
        [
            (names::RULED, self.live.len()),
            (names::RULE_SETS, self.sets.len()),
            (names::RULE_NETS, sum(|set| set.nets.len())),
            (names::RULE_PORTS, sum(|set| set.ports.len())),
            (names::RULE_WHO, sum(|set| set.who.len())),
            (names::POD_ADDRS, self.told.len()),
        ]
    }

    /// Says by which addresses the workloads are known.
    pub(crate) fn set_pods(&mut self, pods: BTreeMap<u32, PodAddrs>) {
        self.pods = pods;
        self.tell_pods();
    }

    /// What could not be told is told again at the next look.
    fn tell_pods(&mut self) {
        let mut failed = None;
        for gone in self.told.keys().filter(|pod| !self.pods.contains_key(pod)).copied().collect::<Vec<_>>() {
            match self.maps.drop_pod(gone) {
                Ok(()) => drop(self.told.remove(&gone)),
                Err(error) => failed = Some(error),
            }
        }
        for (&pod, &addrs) in &self.pods {
            if self.told.get(&pod) == Some(&addrs) {
                continue;
            }
            match self.maps.put_pod(pod, addrs) {
                Ok(()) => drop(self.told.insert(pod, addrs)),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            warn!(%error, "the kernel does not know the addresses of all workloads; trying again");
        }
    }

    /// To be called about once a second: removes sets that no program reads any more.
    pub(crate) fn tick(&mut self) {
        if self.told != self.pods {
            self.tell_pods();
        }
        if !self.litter {
            return;
        }
        let leaving = std::mem::take(&mut self.leaving);
        let kept: BTreeSet<_> = self.live.values().chain(&leaving).copied().collect();
        let gone = self.sets.extract_if(.., |number, _| !kept.contains(number));
        self.names.retire(gone.map(|(number, _)| number));
        match self.maps.keep_sets(&kept) {
            Ok(()) => self.litter = !leaving.is_empty(),
            Err(error) => warn!(%error, "rules that nothing refers to stay in the kernel; trying again"),
        }
    }

    /// Puts right what somebody else changed: which destination has which set, and that the sets are there. What is in a set is
    /// not read back.
    pub(crate) fn reconcile(&mut self) -> Result<usize, TableError> {
        let (found, sets) = (self.maps.ruled()?, self.maps.sets()?);
        let mut repaired = 0;
        for (number, compiled) in self.sets.iter().filter(|(number, it)| sets.get(number) != Some(&it.set)) {
            self.maps.put_set(*number, compiled)?;
            repaired += 1;
        }
        for (key, set) in self.live.iter().filter(|(key, set)| found.get(key) != Some(set)) {
            self.maps.put_ruled(key, *set)?;
            repaired += 1;
        }
        for key in found.keys().filter(|key| !self.live.contains_key(key)) {
            self.maps.drop_ruled(key)?;
            repaired += 1;
        }
        if repaired > 0 {
            warn!(changes = repaired, "policies in the kernel's maps are not as they should be; putting them right");
        }
        Ok(repaired)
    }

    fn put_one(&mut self, key: RuledKey, compiled: &Compiled) -> Result<(), TableError> {
        if self.live.get(&key).and_then(|set| self.sets.get(set)) == Some(compiled) {
            return Ok(());
        }
        // Destinations with the same policy share a set.
        let same = self.sets.iter().find(|(_, found)| *found == compiled).map(|(number, _)| *number);
        let set = match same {
            Some(number) => number,
            None => self.write(compiled)?,
        };
        if self.live.get(&key) != Some(&set) {
            self.maps.put_ruled(&key, set)?;
            self.leaving.extend(self.live.insert(key, set));
            self.litter = true;
        }
        Ok(())
    }

    fn write(&mut self, compiled: &Compiled) -> Result<u32, TableError> {
        let number = self.names.number(&compiled.names);
        // Half a set is litter, too.
        self.litter = true;
        if let Err(error) = self.maps.put_set(number, compiled) {
            self.names.retire([number].into_iter());
            return Err(error);
        }
        self.sets.insert(number, compiled.clone());
        Ok(number)
    }
}

/// A pod has a table of its own: what is in it goes with the pod.
impl Drop for PolicyTable {
    fn drop(&mut self) {
        self.names.retire(self.sets.keys().copied());
    }
}

fn key(address: SocketAddr) -> RuledKey {
    RuledKey::new(address.ip().into(), PortBe::new(address.port()))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use mesh_common::policy::RuleSet;

    use super::*;
    use crate::kernel::policy::maps::FakePolicies;

    type Fake = Arc<Mutex<FakePolicies>>;

    fn table() -> (Fake, PolicyTable) {
        let fake = Fake::default();
        let table = PolicyTable::new(Box::new(Arc::clone(&fake)), RuleNames::default()).unwrap();
        (fake, table)
    }

    fn policies(each: &[(u16, u64)]) -> BTreeMap<SocketAddr, Compiled> {
        let policy = |&(port, deny)| {
            let compiled = Compiled { set: RuleSet { deny, ..RuleSet::default() }, ..Compiled::default() };
            (SocketAddr::from(([10, 0, 0, 1], port)), compiled)
        };
        each.iter().map(policy).collect()
    }

    fn log(fake: &Fake) -> Vec<String> {
        std::mem::take(&mut fake.lock().unwrap().log)
    }

    #[test]
    fn a_set_is_written_before_it_is_named_and_goes_after() {
        let (fake, mut table) = table();
        assert!(table.put(&policies(&[(80, 1), (81, 1), (82, 2)])).is_empty());
        assert_eq!(log(&fake), ["set 1", "80 has 1", "81 has 1", "set 2", "82 has 2"]);
        table.tick();
        assert_eq!(log(&fake), ["keep {1, 2}"]);
        // One changes, one goes, one stays.
        let next = policies(&[(80, 1), (82, 3)]);
        table.put(&next);
        assert_eq!(log(&fake), ["set 3", "82 has 3"]);
        table.prune(&next);
        assert_eq!(log(&fake), ["81 has none"]);
        // Who has just read a number finds its set for a second at least.
        table.tick();
        assert_eq!(log(&fake), ["keep {1, 2, 3}"]);
        table.tick();
        assert_eq!(log(&fake), ["keep {1, 3}"]);
        // Nothing changes: nothing is done but the look for litter.
        table.put(&next);
        table.tick();
        assert_eq!(log(&fake), Vec::<String>::new());
    }

    #[test]
    fn what_finds_no_room_is_said_and_keeps_what_it_had() {
        let (fake, mut table) = table();
        fake.lock().unwrap().room = Some(1);
        let failed = table.put(&policies(&[(80, 1), (81, 2)]));
        assert_eq!(failed.into_iter().collect::<Vec<_>>(), ["10.0.0.1:81".parse().unwrap()]);
        assert_eq!(fake.lock().unwrap().ruled.len(), 1);
    }

    #[test]
    fn what_an_earlier_agent_left_holds_until_it_is_replaced() {
        let fake = Fake::default();
        let old = policies(&[(80, 1)]).pop_first().unwrap();
        fake.lock().unwrap().sets.insert(7, old.1);
        fake.lock().unwrap().ruled.insert(key(old.0), 7);
        let mut table = PolicyTable::new(Box::new(Arc::clone(&fake)), RuleNames::default()).unwrap();
        let next = policies(&[(80, 1)]);
        table.put(&next);
        table.prune(&next);
        table.tick();
        table.tick();
        assert_eq!(log(&fake), ["set 8", "80 has 8", "keep {7, 8}", "keep {8}"]);
    }

    #[test]
    fn of_workloads_the_kernel_knows_those_that_are_here() {
        let (fake, mut first) = table();
        let pods = |numbers: &[u32]| -> BTreeMap<u32, PodAddrs> {
            let addrs = crate::kernel::policy::maps::pod_addrs(&[]);
            numbers.iter().map(|number| (*number, addrs)).collect()
        };
        let told = || fake.lock().unwrap().pods.keys().copied().collect::<Vec<_>>();
        first.set_pods(pods(&[1, 2]));
        drop(first);
        // The second went while no agent ran.
        let mut table = PolicyTable::new(Box::new(Arc::clone(&fake)), RuleNames::default()).unwrap();
        table.tick();
        assert_eq!(told(), [1, 2]);
        table.set_pods(pods(&[1, 3]));
        assert_eq!(told(), [1, 3]);
        // What finds no room is told when there is some, and what goes meanwhile goes.
        fake.lock().unwrap().room = Some(2);
        table.set_pods(pods(&[1, 3, 4]));
        table.set_pods(pods(&[3, 4, 5]));
        assert_eq!(told(), [3, 4]);
        fake.lock().unwrap().room = None;
        table.tick();
        assert_eq!(told(), [3, 4, 5]);
    }

    #[test]
    fn drift_is_found_and_repaired() {
        let (fake, mut table) = table();
        table.put(&policies(&[(80, 1), (81, 2)]));
        assert_eq!(table.reconcile().unwrap(), 0);
        {
            let mut fake = fake.lock().unwrap();
            fake.sets.remove(&2);
            fake.ruled.pop_first();
            fake.ruled.insert(RuledKey::new(mesh_common::flow::Addr([9; 4]), PortBe::new(9)), 5);
        }
        assert_eq!(table.reconcile().unwrap(), 3);
        assert_eq!(table.reconcile().unwrap(), 0);
        let fake = fake.lock().unwrap();
        assert_eq!((fake.ruled.len(), fake.sets.len()), (2, 2));
    }
}
