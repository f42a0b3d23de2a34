//! A whole configuration as decoded from one source, before names are resolved.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::model::cluster::Cluster;
use crate::model::listener::{Listener, UdpListener};
use crate::model::management::Dynamic;
use crate::model::metadata::Metadata;
use crate::model::workload::Workload;

/// Everything a bootstrap file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Who this agent says it is.
    pub node: Node,
    /// Listeners, in the order of the file. Names are unique.
    pub listeners: Vec<Arc<Listener>>,
    /// Listeners for UDP, in the order of the file. No name is one of a listener's as well.
    pub udp_listeners: Vec<Arc<UdpListener>>,
    /// Clusters, in the order of the file. Names are unique.
    pub clusters: Vec<Arc<Cluster>>,
    /// Where more of them come from.
    pub dynamic: Option<Dynamic>,
    /// The `mesh:` key.
    pub mesh: Mesh,
    /// Where the admin interface listens on TCP, if it does. Always a loopback address.
    pub admin: Option<SocketAddr>,
}

/// `envoy.config.core.v3.Node`, as far as it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Node id.
    pub id: String,
    /// The cluster the node belongs to.
    pub cluster: String,
    /// Where it runs.
    pub locality: Locality,
    /// Whatever else the management server is to know.
    pub metadata: Vec<(String, Metadata)>,
}

/// `envoy.config.core.v3.Locality`: empty where nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locality {
    /// Region.
    pub region: String,
    /// Zone of the region.
    pub zone: String,
    /// Part of the zone.
    pub sub_zone: String,
}

/// The `mesh:` key of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mesh {
    /// Workloads of this host, in the order of the file. Names are unique.
    pub workloads: Vec<Workload>,
    /// What to tell the kernel programs.
    pub kernel: KernelConfig,
    /// SPIFFE trust domain.
    pub trust_domain: String,
    /// Clusters and routes are asked for when somebody needs them, and let go when nobody has for so long.
    pub on_demand: Option<Duration>,
    /// Where what a management server sent last is kept, if it is.
    pub last_good: Option<PathBuf>,
}

impl Default for Mesh {
    fn default() -> Self {
        let trust_domain = "cluster.local".to_owned();
        Self { workloads: Vec::new(), kernel: KernelConfig::default(), trust_domain, on_demand: None, last_good: None }
    }
}

/// `mesh.kernel.acceleration`: whether bytes go from socket to socket, past TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acceleration {
    /// If apps would notice nothing of it, as far as a test at the start can tell.
    #[default]
    Auto,
    /// They don't.
    Off,
    /// They do.
    On,
}

impl Acceleration {
    /// As the configuration spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::On => "on",
        }
    }
}

/// What became of [`Acceleration`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accelerated {
    /// Whether bytes go from socket to socket.
    pub on: bool,
    /// Why, or why not.
    pub because: Vec<String>,
}

/// `mesh.kernel`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelConfig {
    /// Whether bytes go from socket to socket.
    pub acceleration: Acceleration,
    /// Folder under a bpffs that holds this agent's pins; one agent per folder.
    pub pin_path: PathBuf,
    /// The programs stay in the kernel when the agent ends: each workload's mode holds until the next agent takes over.
    pub persist: bool,
    /// Have the kernel count and time the runs of all BPF programs of the machine while the agent runs.
    pub stats: bool,
    /// Destination ports that are never steered.
    pub exclude_ports: Vec<u16>,
    /// Destinations that are never steered.
    pub exclude_cidrs: Vec<IpNet>,
}

impl Default for KernelConfig {
    fn default() -> Self {
        Self {
            acceleration: Acceleration::default(),
            pin_path: PathBuf::from("/sys/fs/bpf/bowline"),
            persist: true,
            stats: false,
            exclude_ports: Vec::new(),
            exclude_cidrs: Vec::new(),
        }
    }
}
