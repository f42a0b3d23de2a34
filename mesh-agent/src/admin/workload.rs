//! What the admin interface says of a workload, in JSON. The command line reads the same type back.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::flow::PodId;
use crate::model::workload::{Mode, Workload};

/// One line of `/workloads`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadView {
    /// Unique on the node.
    pub name: String,
    /// Part of its identity.
    pub namespace: String,
    /// Part of its identity.
    pub service_account: String,
    /// Its number in the kernel's maps, while it is meshed.
    pub pod: Option<u32>,
    /// File of its network namespace; absent: the host's.
    pub netns: Option<PathBuf>,
    /// Its cgroup, as configured.
    pub cgroup: Option<PathBuf>,
    /// Where it is reached.
    pub addresses: Vec<IpAddr>,
    /// `permissive` or `enforce`.
    pub mode: String,
    /// Whether its traffic goes through the agent.
    pub state: WorkloadState,
    /// Why it does not.
    pub reason: Option<String>,
}

/// Whether a workload's traffic goes through the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkloadState {
    /// It does.
    Meshed,
    /// Not yet, or not any more.
    Unmeshed,
}

impl WorkloadView {
    /// A workload whose traffic goes through the agent, as `pod` in the kernel's maps.
    #[must_use]
    pub fn meshed(workload: &Workload, pod: PodId) -> Self {
        Self { pod: Some(pod.0), state: WorkloadState::Meshed, reason: None, ..Self::unmeshed(workload, String::new()) }
    }

    /// A workload that is configured, but whose traffic does not go through the agent.
    #[must_use]
    pub fn unmeshed(workload: &Workload, reason: String) -> Self {
        let mode = match workload.mode {
            Mode::Permissive => "permissive",
            Mode::Enforce => "enforce",
        };
        Self {
            name: workload.name.as_str().to_owned(),
            namespace: workload.namespace.clone(),
            service_account: workload.service_account.clone(),
            pod: None,
            netns: workload.netns.clone(),
            cgroup: workload.cgroup.clone(),
            addresses: workload.addresses.clone(),
            mode: mode.to_owned(),
            state: WorkloadState::Unmeshed,
            reason: Some(reason),
        }
    }
}

impl WorkloadState {
    /// As in tables.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Meshed => "meshed",
            Self::Unmeshed => "unmeshed",
        }
    }
}
