//! How often the programs ran and for how long, if the kernel collects it.
//!
//! It does so for all BPF programs of the machine or for none, at two looks at the clock for each run. So the agent asks for it
//! only when it is told to (`mesh.kernel.stats`), and otherwise reads what somebody else has switched on.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;

use aya::programs::ProgramInfo;
use aya::sys::{Stats, enable_stats};
use mesh_common::names;

use crate::kernel::loader::{Inbound, KernelError, Programs};
use crate::model::figures::{ProgramRuns, Runs};
use crate::model::flow::PodId;

/// The statistics, and the wish for them.
pub(crate) struct RunStats {
    /// The kernel collects while this is open.
    held: Option<OwnedFd>,
    /// Of each pod's inbound program at the last look.
    inbound: BTreeMap<PodId, Runs>,
    /// Of those that are gone: a sum must not fall with its parts.
    gone: Runs,
}

impl RunStats {
    /// Has them collected from now on, if that is wanted.
    pub(crate) fn start(wanted: bool) -> Result<Self, KernelError> {
        let held = if wanted {
            Some(enable_stats(Stats::RunTime).map_err(|it| KernelError::Stats(it.io_error))?)
        } else {
            None
        };
        Ok(Self { held, inbound: BTreeMap::new(), gone: Runs::default() })
    }

    /// What all programs have, the inbound ones in one sum; nothing if the kernel does not collect it.
    pub(crate) fn read<'a>(
        &mut self,
        programs: &Programs,
        inbound: impl Iterator<Item = (PodId, &'a Inbound)>,
    ) -> Vec<ProgramRuns> {
        if self.held.is_none() && !is_on() {
            return Vec::new();
        }
        let now = inbound.filter_map(|(pod, inbound)| Some((pod, runs(&inbound.info()?)))).collect();
        let sum = self.sum(now);
        let attached = programs.infos().map(|(program, info)| ProgramRuns { program, runs: runs(&info) });
        attached.chain([ProgramRuns { program: names::INBOUND, runs: sum }]).collect()
    }

    fn sum(&mut self, now: BTreeMap<PodId, Runs>) -> Runs {
        let before = std::mem::replace(&mut self.inbound, now);
        for (_, last) in before.into_iter().filter(|(pod, _)| !self.inbound.contains_key(pod)) {
            self.gone += last;
        }
        let mut sum = self.gone;
        self.inbound.values().for_each(|runs| sum += *runs);
        sum
    }
}

fn runs(info: &ProgramInfo) -> Runs {
    Runs { count: info.run_count(), time: info.run_time() }
}

/// Whether the operator has switched it on.
fn is_on() -> bool {
    fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled").is_ok_and(|text| text.trim() == "1")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_sum_of_pods_never_falls() {
        let mut stats = RunStats::start(false).unwrap();
        let runs = |count| Runs { count, time: Duration::from_nanos(10 * count) };
        let mut look = |each: &[(u32, u64)]| stats.sum(each.iter().map(|&(pod, n)| (PodId(pod), runs(n))).collect());
        assert_eq!(look(&[(1, 5), (2, 7)]), runs(12));
        assert_eq!(look(&[(2, 8)]), runs(13));
        assert_eq!(look(&[(2, 8), (3, 1)]), runs(14));
        assert_eq!(look(&[]), runs(14));
    }
}
