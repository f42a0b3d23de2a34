//! One immutable picture of the whole configuration, with every name already resolved.
//!
//! A connection or a request takes the current `Arc<Snapshot>` once and sees nothing else. Building one is pure: no I/O, no
//! clock. Routes point at clusters by [`ClusterSlot`], a number that a name keeps for as long as the agent runs, so that a
//! changed endpoint replaces one entry of one table and leaves every route table as it is.

mod build;
mod demand;
mod endpoints;
mod publish;
mod rejected;
mod scope;
mod slots;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

pub use build::{Applied, Builder, Change, Demanded, Need};
use demand::Marks;
pub use demand::{Clock, Cold, Use};
pub use endpoints::{Drop, EndpointSet, Turns};
pub use publish::{Publisher, Reader};
pub use rejected::Rejected;
use scope::NOWHERE;
pub use scope::{Kept, ScopeTable};
use slots::Slots;

use crate::identity::Client;
use crate::model::authz::Rules;
use crate::model::cluster::Cluster;
use crate::model::extension::{Extension, Placed as _, Router};
use crate::model::filter::{HttpConnectionManager, TcpProxy};
use crate::model::flow::Direction;
use crate::model::listener::{ChainMatch, Listener, UdpListener};
use crate::model::name::{ClusterName, ListenerName};
use crate::model::scope::{Scope, ScopedRoutes};
use crate::route::{self, RequestView, RouteTable};

/// A cluster's place in every snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterSlot(u32);

impl ClusterSlot {
    /// Index into tables that are kept per cluster.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The place of a route configuration that comes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteSlot(u32);

impl RouteSlot {
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// The place of a filter that comes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExtensionSlot(u32);

impl ExtensionSlot {
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// The configuration at one moment. Copies of it share everything.
#[derive(Debug, Default)]
pub struct Snapshot {
    version: u64,
    listeners: Arc<Listeners>,
    clusters: Slots<LiveCluster>,
    routes: Slots<RouteTable>,
    extensions: Slots<Extension>,
    scopes: ScopeTable,
    cold: Arc<Marks>,
}

impl Snapshot {
    /// Counts up with every publication.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All listeners, bound or not.
    #[must_use]
    pub fn listeners(&self) -> &[Arc<LiveListener>] {
        &self.listeners.all
    }

    /// All listeners as one value: while it stays the same, so has every listener.
    #[must_use]
    pub fn listener_set(&self) -> ListenerSet {
        ListenerSet(Arc::clone(&self.listeners))
    }

    /// All listeners for UDP.
    #[must_use]
    pub fn udp_listeners(&self) -> &[LiveUdp] {
        &self.listeners.udp
    }

    /// The listener of that name.
    #[must_use]
    pub fn listener(&self, name: &ListenerName) -> Option<&Arc<LiveListener>> {
        self.listeners.by_name.get(name).map(|&index| &self.listeners.all[index])
    }

    /// The cluster of a slot, if it exists now.
    #[must_use]
    pub fn cluster(&self, slot: ClusterSlot) -> Option<&Arc<LiveCluster>> {
        self.clusters.get(slot.index())
    }

    /// Whether something that is not there could be asked for.
    #[must_use]
    pub fn is_cold(&self, what: &Cold) -> bool {
        let is_there = match what {
            Cold::Cluster(slot) => self.cluster(*slot).is_some(),
            Cold::Routes(slot) => self.routes.get(slot.index()).is_some(),
            Cold::Host(slot, host) => {
                return self.routes.get(slot.index()).is_some_and(|table| table.cold_host(host).is_some());
            }
        };
        !is_there && self.cold.has(what)
    }

    /// All clusters that exist now.
    pub fn clusters(&self) -> impl Iterator<Item = &Arc<LiveCluster>> {
        self.clusters.iter()
    }

    /// Routes that came by themselves.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<RouteTable>> {
        self.routes.iter()
    }

    /// Scopes that came by themselves.
    pub fn scopes(&self) -> impl Iterator<Item = &Arc<Scope>> {
        self.scopes.each()
    }

    /// Filters that came by themselves.
    pub fn extensions(&self) -> impl Iterator<Item = &Arc<Extension>> {
        self.extensions.iter()
    }

    /// The listener for a steered connection: by address and port, then by port alone, then the catch-all, as Envoy finds one
    /// for a connection whose original destination it restored.
    #[must_use]
    pub fn listener_for(&self, direction: Direction, destination: SocketAddr) -> Option<&Arc<LiveListener>> {
        let any = match destination.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let exact = SocketAddr::new(destination.ip(), destination.port());
        let Listeners { all, by_destination, catch_all, .. } = &*self.listeners;
        by_destination
            .get(&(direction, exact))
            .or_else(|| by_destination.get(&(direction, SocketAddr::new(any, destination.port()))))
            .or_else(|| catch_all.get(&direction))
            .map(|&index| &all[index])
    }
}

/// See [`Snapshot::listener_set`].
#[derive(Clone, Debug)]
pub struct ListenerSet(Arc<Listeners>);

impl PartialEq for ListenerSet {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The listeners of a snapshot, and how one is found.
#[derive(Debug, Default)]
struct Listeners {
    all: Vec<Arc<LiveListener>>,
    udp: Vec<LiveUdp>,
    by_name: HashMap<ListenerName, usize>,
    by_destination: HashMap<(Direction, SocketAddr), usize>,
    catch_all: HashMap<Direction, usize>,
}

impl Listeners {
    fn add(&mut self, live: Arc<LiveListener>) {
        let index = self.all.len();
        self.by_name.insert(live.config.name.clone(), index);
        self.by_destination.insert((live.config.direction, live.config.address), index);
        if live.config.catch_all {
            self.catch_all.entry(live.config.direction).or_insert(index);
        }
        self.all.push(live);
    }
}

/// A listener with its chains resolved.
#[derive(Debug)]
pub struct LiveListener {
    /// As configured.
    pub config: Arc<Listener>,
    /// In the order of the configuration.
    pub chains: Vec<LiveChain>,
    /// Taken when no other matches.
    pub default_chain: Option<LiveChain>,
}

/// A listener for UDP with its cluster resolved.
#[derive(Clone, Debug)]
pub struct LiveUdp {
    /// As configured.
    pub config: Arc<UdpListener>,
    /// Whose endpoints take the datagrams.
    pub cluster: ClusterSlot,
}

impl LiveListener {
    /// Every chain, the default one last, as in the configuration.
    fn all_chains(&self) -> impl Iterator<Item = &LiveChain> {
        self.chains.iter().chain(&self.default_chain)
    }

    /// What is served over HTTP.
    fn http_chains(&self) -> impl Iterator<Item = &Arc<HttpChain>> {
        self.all_chains().filter_map(|chain| match &chain.filter {
            LiveFilter::Http(chain) => Some(chain),
            LiveFilter::Tcp(_) => None,
        })
    }
}

/// A filter chain with its clusters resolved.
#[derive(Clone, Debug)]
pub struct LiveChain {
    /// Which connections it takes.
    pub matches: ChainMatch,
    /// Which of those may go on.
    pub authorization: Vec<Rules>,
    /// What it does with them.
    pub filter: LiveFilter,
}

/// A network filter with its clusters resolved.
#[derive(Clone, Debug)]
pub enum LiveFilter {
    /// HTTP.
    Http(Arc<HttpChain>),
    /// Opaque bytes.
    Tcp(Arc<TcpChain>),
}

/// An HTTP connection manager and its compiled routes.
#[derive(Debug)]
pub struct HttpChain {
    /// As configured.
    pub config: Arc<HttpConnectionManager>,
    /// Where requests go.
    pub routes: Routes,
    /// The HTTP filter that sends them there.
    pub router: LiveRouter,
    /// No listener has it any longer.
    superseded: AtomicBool,
}

/// Where the compiled routes of a connection manager are.
#[derive(Debug)]
pub enum Routes {
    /// With the listener, for as long as a connection lasts.
    Fixed(Arc<RouteTable>),
    /// In the snapshot of the moment: a request on an old connection takes the newest routes.
    Discovered {
        /// Where they are.
        slot: RouteSlot,
        /// As they were when the listener went live: for connections that outlive it.
        first: Arc<RouteTable>,
        /// As they were when no listener had this chain any longer, if they were there: who has it still may outlive them too.
        last: OnceLock<Arc<RouteTable>>,
        /// When they were used last, if that matters.
        used: Option<Arc<Use>>,
    },
    /// By scope: the request's headers choose.
    Scoped {
        /// As configured.
        config: Arc<ScopedRoutes>,
        /// Those that came with the listener; `None`: those of the snapshot.
        scopes: Option<ScopeTable>,
        /// What was there when no listener had this chain any longer.
        last: OnceLock<Kept>,
    },
}

/// Where the router of a connection manager is.
#[derive(Debug)]
pub enum LiveRouter {
    /// With the listener.
    Fixed(Router),
    /// In the snapshot of the moment.
    Discovered {
        /// Where it is.
        slot: ExtensionSlot,
        /// Stands in while there is none.
        default: Option<Router>,
        /// As it was when no listener had this chain any longer.
        last: OnceLock<Router>,
    },
}

impl HttpChain {
    /// The router that a request of this moment takes; `None` if there is none.
    #[must_use]
    pub fn router(&self, snapshot: &Snapshot) -> Option<Router> {
        match &self.router {
            LiveRouter::Fixed(router) => Some(*router),
            LiveRouter::Discovered { slot, default, last } => {
                let live = snapshot.extensions.get(slot.index()).and_then(|live| Router::of(&live.filter));
                live.or(last.get()).or(default.as_ref()).copied()
            }
        }
    }

    /// New connections take another one from now on. Those that have this one still end when their clients let them.
    pub fn supersede(&self) {
        self.superseded.store(true, Ordering::Relaxed);
    }

    /// Whether new connections take another one.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::Relaxed)
    }

    /// The routes that a request of this moment takes: none at all if it is in no scope.
    ///
    /// # Errors
    /// If they have to be asked for.
    pub fn table<'a>(&'a self, snapshot: &'a Snapshot, request: &impl RequestView) -> Result<&'a RouteTable, Cold> {
        let table = self.any_table(snapshot, request)?;
        let cold = if self.config.on_demand { table.cold_host(request.authority()) } else { None };
        // A table that is kept for connections that outlive their listener has nobody left to ask.
        match cold.filter(|cold| snapshot.is_cold(cold)) {
            Some(cold) => Err(cold),
            None => Ok(table),
        }
    }

    fn any_table<'a>(&'a self, snapshot: &'a Snapshot, request: &impl RequestView) -> Result<&'a RouteTable, Cold> {
        match &self.routes {
            Routes::Fixed(table) => Ok(table),
            Routes::Discovered { slot, first, last, used } => {
                if let Some(used) = used {
                    used.touch();
                }
                match snapshot.routes.get(slot.index()) {
                    Some(table) => Ok(table),
                    None if snapshot.cold.has(&Cold::Routes(*slot)) => Err(Cold::Routes(*slot)),
                    None => Ok(last.get().unwrap_or(first)),
                }
            }
            Routes::Scoped { config, scopes, last } => {
                let Some(key) = route::scope_key(&config.key, request) else { return Ok(&NOWHERE) };
                let found = scopes.as_ref().unwrap_or(&snapshot.scopes).find(&key);
                let last = last.get();
                let Some(scope) = found.or_else(|| last?.scopes.find(&key)) else { return Ok(&NOWHERE) };
                if let Some(used) = &scope.used {
                    used.touch();
                }
                let index = scope.routes.index();
                match snapshot.routes.get(index) {
                    Some(table) => Ok(table),
                    None if snapshot.cold.has(&Cold::Routes(scope.routes)) => Err(Cold::Routes(scope.routes)),
                    None => Ok(last.and_then(|last| last.routes.get(index)).map_or(&*NOWHERE, |table| table)),
                }
            }
        }
    }
}

/// A TCP proxy and its clusters.
#[derive(Debug)]
pub struct TcpChain {
    /// As configured.
    pub config: Arc<TcpProxy>,
    /// Never empty.
    pub clusters: WeightedSlots,
}

/// A choice between clusters by weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedSlots {
    slots: Vec<(ClusterSlot, u32)>,
    total: u32,
}

impl WeightedSlots {
    /// `None` if the weights sum to zero, or to more than a `u32` holds.
    #[must_use]
    pub fn new(slots: Vec<(ClusterSlot, u32)>) -> Option<Self> {
        let total = slots.iter().try_fold(0u32, |sum, (_, weight)| sum.checked_add(*weight))?;
        (total > 0).then_some(Self { slots, total })
    }

    /// Each slot with its weight.
    pub fn each(&self) -> impl Iterator<Item = (ClusterSlot, u32)> {
        self.slots.iter().copied()
    }

    /// The slot whose share of the weights holds `random` (any number; its remainder counts).
    #[must_use]
    pub fn pick(&self, random: u32) -> ClusterSlot {
        let mut left = random % self.total;
        for (slot, weight) in &self.slots {
            if left < *weight {
                return *slot;
            }
            left -= weight;
        }
        self.slots[0].0
    }
}

/// A cluster with the endpoints it has now.
#[derive(Debug)]
pub struct LiveCluster {
    /// Its place in every snapshot.
    pub slot: ClusterSlot,
    /// As configured.
    pub config: Arc<Cluster>,
    /// Where its requests can go.
    pub endpoints: Arc<EndpointSet>,
    /// How TLS is spoken to them, if it is.
    pub tls: Option<Arc<Client>>,
    /// When it was used last, if that matters.
    used: Option<Arc<Use>>,
}

impl LiveCluster {
    /// The cluster's name.
    #[must_use]
    pub fn name(&self) -> &ClusterName {
        &self.config.name
    }

    /// Something is sent to it.
    pub fn touch(&self) {
        if let Some(used) = &self.used {
            used.touch();
        }
    }
}
