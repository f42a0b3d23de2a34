//! Workloads of the configuration that do not run here now, and their return.
//!
//! A pod that is made anew under its old name (a restarted container, a service that starts again) has another namespace or
//! another cgroup: for the kernel it is another pod, with a number of its own, and what was open belongs to the one that is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::debug;

use crate::kernel::cgroup::Cgroups;
use crate::model::flow::PodId;
use crate::model::name::WorkloadName;
use crate::model::workload::Workload;
use crate::pod::netns::Netns;
use crate::pod::registry::{self, Member};

/// Looks for the workloads that are missed.
#[derive(Debug)]
pub(crate) struct Seeker {
    missed: Vec<Workload>,
    /// Of those that were found and could not be meshed, how often.
    failures: BTreeMap<WorkloadName, u32>,
    trust_domain: String,
    home: Arc<Netns>,
    cgroups: Cgroups,
    last: PodId,
}

impl Seeker {
    /// Misses nobody. `last` is the highest number a pod has.
    pub(crate) fn new(trust_domain: &str, home: Arc<Netns>, cgroups: Cgroups, last: PodId) -> Self {
        let (missed, failures) = Default::default();
        Self { missed, failures, trust_domain: trust_domain.to_owned(), home, cgroups, last }
    }

    /// This one is not here; it may come, or come back.
    pub(crate) fn miss(&mut self, workload: Workload) {
        self.missed.push(workload);
    }

    /// This one was found and could not be meshed: it is missed again. Answers how often that was so since it was last meshed.
    pub(crate) fn fail(&mut self, workload: Workload) -> u32 {
        let failures = self.failures.entry(workload.name.clone()).or_default();
        *failures = failures.saturating_add(1);
        let failures = *failures;
        self.miss(workload);
        failures
    }

    /// This one is meshed.
    pub(crate) fn forgive(&mut self, workload: &WorkloadName) {
        self.failures.remove(workload);
    }

    /// Those that are here now; `running` are those that were all the time.
    pub(crate) fn look(&mut self, running: &[&Member]) -> Vec<Member> {
        let mut found: Vec<Member> = Vec::new();
        let mut sought = std::mem::take(&mut self.missed).into_iter();
        while let Some(workload) = sought.next() {
            let id = PodId(self.last.0 + 1);
            let others: Vec<_> = running.iter().copied().chain(&found).collect();
            let missed: Vec<_> = self.missed.iter().chain(sought.as_slice()).collect();
            let here = (&self.home, &self.cgroups);
            match registry::find_one(&workload, id, &self.trust_domain, here, &others, &missed) {
                Ok(member) => {
                    self.last = id;
                    found.push(member);
                }
                Err(error) => {
                    debug!(%error, "still missed");
                    self.missed.push(workload);
                }
            }
        }
        found
    }
}
