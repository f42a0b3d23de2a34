//! Workloads of the configuration that do not run here now, and their return.
//!
//! A pod that is made anew under its old name (a restarted container, a service that starts again) has another namespace or
//! another cgroup: for the kernel it is another pod, with a number of its own, and what was open belongs to the one that is gone.

use std::sync::Arc;

use tracing::debug;

use crate::kernel::cgroup::Cgroups;
use crate::model::flow::PodId;
use crate::model::workload::Workload;
use crate::pod::netns::Netns;
use crate::pod::registry::{self, Member};

/// Looks for the workloads that are missed.
#[derive(Debug)]
pub(crate) struct Seeker {
    missed: Vec<Workload>,
    trust_domain: String,
    home: Arc<Netns>,
    cgroups: Cgroups,
    last: PodId,
}

impl Seeker {
    /// Misses nobody. `last` is the highest number a pod has.
    pub(crate) fn new(trust_domain: &str, home: Arc<Netns>, cgroups: Cgroups, last: PodId) -> Self {
        Self { missed: Vec::new(), trust_domain: trust_domain.to_owned(), home, cgroups, last }
    }

    /// This one is not here; it may come, or come back.
    pub(crate) fn miss(&mut self, workload: Workload) {
        self.missed.push(workload);
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
