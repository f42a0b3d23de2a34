//! What the programs counted, summed over CPUs. All instances of the programs count in one map, and go on while no agent runs.

use std::sync::Arc;

use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray};
use mesh_common::counter::Counter;
use mesh_common::names;
use tracing::warn;

use crate::kernel::maps::{TableError, refused, take};

/// A number of the kernel side: short name, help text, how many so far.
pub(crate) type Count = (&'static str, &'static str, u64);

/// The map of counters.
#[derive(Clone)]
pub(crate) struct Counters(Arc<PerCpuArray<MapData, u64>>);

impl Counters {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, TableError> {
        take(ebpf, names::COUNTERS).map(|map| Self(Arc::new(map)))
    }

    /// All numbers as they are now. One that cannot be read is missing, nothing else.
    pub(crate) fn read(&self) -> Vec<Count> {
        let mut counts = Vec::with_capacity(Counter::ALL.len());
        for counter in Counter::ALL {
            match self.0.get(&counter.index(), 0).map_err(refused(names::COUNTERS)) {
                Ok(values) => {
                    let (name, help) = counter.describe();
                    counts.push((name, help, values.iter().sum()));
                }
                Err(error) => warn!(%error, "a counter of the kernel programs cannot be read"),
            }
        }
        counts
    }
}
