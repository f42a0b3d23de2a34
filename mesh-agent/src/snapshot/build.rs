//! From configured resources to a snapshot: resolves names, indexes listeners, and keeps what did not change.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::cluster::{Cluster, Discovery};
use crate::model::filter::NetworkFilter;
use crate::model::listener::{FilterChain, Listener, UdpListener};
use crate::model::name::{ClusterName, ListenerName};
use crate::route::{self, CompileError, RouteTable};
use crate::snapshot::{
    ClusterSlot, EndpointSet, HttpChain, LiveChain, LiveCluster, LiveFilter, LiveListener, LiveUdp, Snapshot, TcpChain,
};

/// Why a resource is not in the snapshot that was built. Its siblings are.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It names a cluster that does not exist.
    #[error("listener {listener}: there is no cluster {cluster}")]
    NoSuchCluster {
        /// The listener that was left out.
        listener: ListenerName,
        /// The missing one.
        cluster: ClusterName,
    },
    /// Its routes contradict each other.
    #[error("listener {listener}: {source}")]
    Routes {
        /// The listener that was left out.
        listener: ListenerName,
        /// What is wrong.
        source: CompileError,
    },
    /// Another listener of its direction has the same address.
    #[error("listener {listener}: {address} is taken by listener {by}")]
    AddressTaken {
        /// The listener that was left out.
        listener: ListenerName,
        /// The address both want.
        address: SocketAddr,
        /// Who has it.
        by: ListenerName,
    },
    /// It is for UDP, and its datagrams would have to change from IPv4 to IPv6 or back.
    #[error("listener {listener}: UDP cannot be sent on to {endpoint}, which is of the other address family")]
    Family {
        /// The listener that was left out.
        listener: ListenerName,
        /// The endpoint.
        endpoint: SocketAddr,
    },
    /// The weights of its clusters do not fit.
    #[error("listener {listener}: the cluster weights sum to zero or overflow")]
    Weights {
        /// The listener that was left out.
        listener: ListenerName,
    },
}

/// Builds snapshots one after another; remembers which slot each cluster name has.
#[derive(Debug, Default)]
pub struct Builder {
    slots: HashMap<ClusterName, ClusterSlot>,
}

impl Builder {
    /// A snapshot of these listeners and clusters. `resolved` holds the endpoints of clusters whose endpoints are discovered;
    /// one that is missing there has none yet.
    pub fn build(
        &mut self,
        listeners: &[Arc<Listener>],
        clusters: &[Arc<Cluster>],
        resolved: &HashMap<ClusterName, Arc<EndpointSet>>,
    ) -> (Snapshot, Vec<Rejected>) {
        let mut snapshot = Snapshot::default();
        for cluster in clusters {
            let slot = self.slot(&cluster.name);
            let endpoints = match &cluster.discovery {
                Discovery::Static(endpoints) => Arc::new(EndpointSet::new(endpoints.clone(), cluster)),
                Discovery::StrictDns { .. } => resolved.get(&cluster.name).cloned().unwrap_or_default(),
            };
            if snapshot.clusters.len() <= slot.index() {
                snapshot.clusters.resize(slot.index() + 1, None);
            }
            snapshot.clusters[slot.index()] =
                Some(Arc::new(LiveCluster { slot, config: Arc::clone(cluster), endpoints }));
        }
        let mut rejected = Vec::new();
        for listener in listeners {
            let live = self.listener(&snapshot, listener).and_then(|live| add_listener(&mut snapshot, live));
            rejected.extend(live.err());
        }
        (snapshot, rejected)
    }

    /// Adds listeners for UDP to a snapshot that was just built.
    pub fn add_udp(&self, snapshot: &mut Snapshot, listeners: &[Arc<UdpListener>]) -> Vec<Rejected> {
        let mut rejected = Vec::new();
        for config in listeners {
            match self.udp(snapshot, config) {
                Ok(live) => snapshot.udp.push(live),
                Err(why) => rejected.push(why),
            }
        }
        rejected
    }

    fn udp(&self, snapshot: &Snapshot, config: &Arc<UdpListener>) -> Result<LiveUdp, Rejected> {
        let (listener, cluster) = (&config.name, &config.proxy.cluster);
        let slot = self.slots.get(cluster).copied().filter(|slot| snapshot.cluster(*slot).is_some());
        let slot =
            slot.ok_or_else(|| Rejected::NoSuchCluster { listener: listener.clone(), cluster: cluster.clone() })?;
        let endpoints = snapshot.cluster(slot).map_or(&[][..], |cluster| &cluster.endpoints.endpoints);
        match endpoints.iter().find(|endpoint| endpoint.address.is_ipv4() != config.address.is_ipv4()) {
            Some(endpoint) => Err(Rejected::Family { listener: listener.clone(), endpoint: endpoint.address }),
            None => Ok(LiveUdp { config: Arc::clone(config), cluster: slot }),
        }
    }

    /// `snapshot` with other endpoints in one cluster; everything else is shared. `None` if that cluster is not in it.
    #[must_use]
    pub fn with_endpoints(
        &self,
        snapshot: &Snapshot,
        name: &ClusterName,
        endpoints: Arc<EndpointSet>,
    ) -> Option<Snapshot> {
        let slot = *self.slots.get(name)?;
        let config = Arc::clone(&snapshot.cluster(slot)?.config);
        let mut clusters = snapshot.clusters.clone();
        clusters[slot.index()] = Some(Arc::new(LiveCluster { slot, config, endpoints }));
        Some(Snapshot {
            version: 0,
            listeners: snapshot.listeners.clone(),
            udp: snapshot.udp.clone(),
            by_destination: snapshot.by_destination.clone(),
            catch_all: snapshot.catch_all.clone(),
            clusters,
        })
    }

    fn slot(&mut self, name: &ClusterName) -> ClusterSlot {
        let next = u32::try_from(self.slots.len()).expect("fewer than 2^32 cluster names in one process");
        *self.slots.entry(name.clone()).or_insert(ClusterSlot(next))
    }

    fn listener(&self, snapshot: &Snapshot, config: &Arc<Listener>) -> Result<LiveListener, Rejected> {
        let chain = |chain: &FilterChain| self.chain(snapshot, &config.name, chain);
        Ok(LiveListener {
            config: Arc::clone(config),
            chains: config.chains.iter().map(chain).collect::<Result<_, _>>()?,
            default_chain: config.default_chain.as_ref().map(chain).transpose()?,
        })
    }

    fn chain(&self, snapshot: &Snapshot, listener: &ListenerName, chain: &FilterChain) -> Result<LiveChain, Rejected> {
        let resolve = |name: &ClusterName| {
            let slot = *self.slots.get(name)?;
            snapshot.cluster(slot).map(|_| slot)
        };
        let reject = |source| match source {
            CompileError::NoSuchCluster(cluster) => Rejected::NoSuchCluster { listener: listener.clone(), cluster },
            source => Rejected::Routes { listener: listener.clone(), source },
        };
        let filter = match &chain.filter {
            NetworkFilter::Http(config) => {
                let routes = RouteTable::compile(&config.routes, &resolve).map_err(reject)?;
                LiveFilter::Http(Arc::new(HttpChain { config: Arc::clone(config), routes: Arc::new(routes) }))
            }
            NetworkFilter::Tcp(config) => {
                let clusters = route::weighted(&config.clusters, &resolve)
                    .map_err(reject)?
                    .ok_or_else(|| Rejected::Weights { listener: listener.clone() })?;
                LiveFilter::Tcp(Arc::new(TcpChain { config: Arc::clone(config), clusters }))
            }
        };
        Ok(LiveChain { matches: chain.matches.clone(), authorization: chain.authorization.clone(), filter })
    }
}

fn add_listener(snapshot: &mut Snapshot, live: LiveListener) -> Result<(), Rejected> {
    let index = snapshot.listeners.len();
    let (direction, address) = (live.config.direction, live.config.address);
    if let Some(&other) = snapshot.by_destination.get(&(direction, address)) {
        let by = snapshot.listeners[other].config.name.clone();
        return Err(Rejected::AddressTaken { listener: live.config.name.clone(), address, by });
    }
    snapshot.by_destination.insert((direction, address), index);
    if live.config.catch_all {
        snapshot.catch_all.entry(direction).or_insert(index);
    }
    snapshot.listeners.push(Arc::new(live));
    Ok(())
}
