//! Who is meshed on this host: the `mesh.workloads` part of the configuration.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use crate::model::name::WorkloadName;

/// One meshed workload (a pod, a service of a plain host).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Unique on the node.
    pub name: WorkloadName,
    /// Namespace in the sense of Kubernetes, part of the identity.
    pub namespace: String,
    /// Service account, part of the identity.
    pub service_account: String,
    /// Free labels, for policy and telemetry.
    pub labels: BTreeMap<String, String>,
    /// File of the network namespace; `None` is the host's.
    pub netns: Option<PathBuf>,
    /// cgroup v2 folder, relative to the mount or absolute. Tells workloads apart that share the host's namespace.
    pub cgroup: Option<PathBuf>,
    /// Addresses at which the workload is reached.
    pub addresses: Vec<IpAddr>,
    /// What happens to its traffic while no agent runs, or when a kernel helper fails.
    pub mode: Mode,
}

impl Workload {
    /// Its name in policies (SPIFFE, as Istio forms it).
    #[must_use]
    pub fn identity(&self, trust_domain: &str) -> String {
        format!("spiffe://{trust_domain}/ns/{}/sa/{}", self.namespace, self.service_account)
    }
}

/// By which address of that family one with these is known outside, whatever its sockets are bound to. Loopback: nobody wrote one
/// down. Agent and kernel must answer alike: by it they choose endpoints for clients.
#[must_use]
pub fn known_as(addresses: &[IpAddr], v4: bool) -> IpAddr {
    let nobody = if v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    addresses.iter().find(|ip| ip.is_ipv4() == v4).copied().unwrap_or(nobody)
}

/// The folder of cgroup `path` (see [`Workload::cgroup`]) in the hierarchy that is mounted at `mount`. `/a/b`, as the kernel
/// writes a process's group, is below the mount too.
#[must_use]
pub fn cgroup_folder(mount: &Path, path: &Path) -> PathBuf {
    if path.starts_with(mount) { path.to_owned() } else { mount.join(path.strip_prefix("/").unwrap_or(path)) }
}

/// What to do where the mesh can't do its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Let traffic pass untouched.
    #[default]
    Permissive,
    /// Refuse it (`EPERM`).
    Enforce,
}
