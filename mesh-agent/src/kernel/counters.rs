//! What the programs counted, summed over CPUs and over the instances of the programs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray};
use mesh_common::counter::Counter;
use mesh_common::names;
use tracing::warn;

use crate::kernel::maps::{TableError, refused, take};
use crate::model::flow::PodId;

/// A number of the kernel side: short name, help text, how many so far.
pub(crate) type Count = (&'static str, &'static str, u64);

/// The counters of one instance of the programs.
pub(crate) struct CounterMap(PerCpuArray<MapData, u64>);

/// The counters of all instances, those that are gone among them: a sum never goes back.
#[derive(Clone)]
pub(crate) struct Counters(Arc<Mutex<Instances>>);

struct Instances {
    shared: CounterMap,
    pods: BTreeMap<PodId, CounterMap>,
    gone: Totals,
}

type Totals = [u64; Counter::ALL.len()];

impl CounterMap {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, TableError> {
        take(ebpf, names::COUNTERS).map(Self)
    }

    /// What cannot be read is missing from the sum, nothing else.
    fn add_to(&self, totals: &mut Totals) {
        for (counter, total) in Counter::ALL.into_iter().zip(totals) {
            match self.0.get(&counter.index(), 0).map_err(refused(names::COUNTERS)) {
                Ok(values) => *total += values.iter().sum::<u64>(),
                Err(error) => warn!(%error, "a counter of the kernel programs cannot be read"),
            }
        }
    }
}

impl Counters {
    /// Those of the programs that serve all pods.
    pub(crate) fn new(shared: CounterMap) -> Self {
        Self(Arc::new(Mutex::new(Instances { shared, pods: BTreeMap::new(), gone: [0; Counter::ALL.len()] })))
    }

    /// And those of one pod's inbound program.
    pub(crate) fn add(&self, pod: PodId, map: CounterMap) {
        self.lock().pods.insert(pod, map);
    }

    /// That pod's program ends; what it counted stays.
    pub(crate) fn retire(&self, pod: PodId) {
        let mut instances = self.lock();
        if let Some(map) = instances.pods.remove(&pod) {
            map.add_to(&mut instances.gone);
        }
    }

    /// All numbers as they are now.
    pub(crate) fn read(&self) -> Vec<Count> {
        let instances = self.lock();
        let mut totals = instances.gone;
        instances.shared.add_to(&mut totals);
        instances.pods.values().for_each(|map| map.add_to(&mut totals));
        let count = |(counter, value): (Counter, u64)| {
            let (name, help) = counter.describe();
            (name, help, value)
        };
        Counter::ALL.into_iter().zip(totals).map(count).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Instances> {
        // Sums are made from scratch at every reading: a panic half way leaves nothing wrong.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
