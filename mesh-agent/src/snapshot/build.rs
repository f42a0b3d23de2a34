//! From configured resources to snapshots, change by change: a change costs what it changes.
//!
//! Pure: what is known in, what is live out. Nothing goes live before it can work (*make before break*): a cluster waits for its
//! endpoints and secrets, a listener for its routes and for its clusters, a route configuration for its clusters, and until then whatever was live
//! under that name stays. Each waits for one thing at a time ([`Need`]) and is tried again when that comes, or when the caller, who
//! knows the time, gives it up. All that one call changes goes live at once.

mod cluster;
mod demand;
mod extension;
mod hosts;
mod listener;
mod route;
mod scope;
mod secret;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::model::cluster::Cluster;
use crate::model::extension::Extension;
use crate::model::listener::{Listener, UdpListener};
use crate::model::management::{ConfigSource, Origin};
use crate::model::name::{ClusterName, ListenerName, RouteConfigName};
use crate::model::resource::{Resource, ResourceKind};
use crate::model::route::VirtualHost;
use crate::model::scope::Scope;
use crate::route::RouteTable;
use crate::snapshot::slots::Slots;
use crate::snapshot::{
    ClusterSlot, EndpointSet, ExtensionSlot, HttpChain, Listeners, LiveCluster, Rejected, RouteSlot, Snapshot,
};
use cluster::Service;
use demand::Demand;
pub use demand::Demanded;
use extension::Named;
use hosts::Hosts;
use listener::{Claim, Configured, Known};
use route::Discovered;
use scope::Scoped;
use secret::Asked;
use waiting::{Waiter, Waiting};

/// Something that is needed by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Need {
    /// What it is.
    pub kind: ResourceKind,
    /// Its name.
    pub name: Arc<str>,
}

/// Something that is new.
#[derive(Clone, Debug)]
pub enum Change {
    /// A resource came, new or changed.
    Put(Resource),
    /// A virtual host came, by the name it is asked for by.
    PutHost(Arc<str>, Arc<VirtualHost>),
    /// A resource is no more. Endpoints and routes that are in use stay, as in Envoy, until who uses them goes; who waits for them has
    /// waited long enough.
    Remove(ResourceKind, Arc<str>),
    /// What the names of a cluster stand for.
    Resolved(ClusterName, Arc<EndpointSet>),
    /// It is not waited for any longer: what needs it goes live without. If it comes later, it is used.
    GiveUp(Need),
    /// Somebody needs it. For what can be asked for on demand.
    Demand(Need),
    /// It was sent, and is refused: whoever needs it need not wait.
    Refused(Need),
    /// Nobody has needed it for a while.
    Rest(Need),
    /// A server has said which scopes there are.
    HeardScopes,
}

/// What became of some changes.
#[derive(Debug, Default)]
pub struct Applied {
    /// The next snapshot, if anything that is live changed.
    pub snapshot: Option<Snapshot>,
    /// The clusters in which it differs from the last; `None` if it has other listeners too.
    pub clusters: Option<Vec<ClusterSlot>>,
    /// What is needed from now on, and where it is to be had.
    pub wanted: Vec<(Need, ConfigSource)>,
    /// What is not needed any longer from there.
    pub unwanted: Vec<(Need, Origin)>,
    /// What does not fit among the others.
    pub rejected: Vec<Rejected>,
    /// Chains that no listener has any longer: to be told so when the snapshot is live.
    pub superseded: Vec<Arc<HttpChain>>,
}

/// Builds snapshots one after another; remembers which slot each name has.
#[derive(Debug, Default)]
pub struct Builder {
    cluster_slots: HashMap<ClusterName, ClusterSlot>,
    route_slots: HashMap<RouteConfigName, RouteSlot>,
    clusters: Slots<LiveCluster>,
    routes: Slots<RouteTable>,
    listeners: Arc<Listeners>,
    /// Clusters that wait for their endpoints or secrets.
    warming: HashMap<ClusterName, Arc<Cluster>>,
    /// Endpoints that come by themselves, by the name they are asked for by.
    services: HashMap<Arc<str>, Service>,
    /// Secrets that come by themselves, by the name they are asked for by.
    secrets: HashMap<Arc<str>, Asked>,
    resolved: HashMap<ClusterName, Arc<EndpointSet>>,
    discovered: HashMap<RouteConfigName, Discovered>,
    /// Filters that come by themselves.
    extensions: HashMap<Arc<str>, Named>,
    extension_slots: HashMap<Arc<str>, ExtensionSlot>,
    live_extensions: Slots<Extension>,
    scoped: Scoped,
    hosts: Hosts,
    known: HashMap<ListenerName, Known>,
    claims: HashMap<Claim, ListenerName>,
    /// How many listeners there have been; they keep their order.
    count: u64,
    waiting: Waiting,
    demand: Option<Demand>,
}

/// What one call of [`Builder::apply`] gathers.
#[derive(Debug, Default)]
struct Round {
    is_changed: bool,
    listeners_changed: bool,
    clusters: Vec<ClusterSlot>,
    /// Needs that came or went, and who had been asked for each before.
    touched: BTreeMap<Need, Option<Origin>>,
    rejected: Vec<Rejected>,
    superseded: Vec<Arc<HttpChain>>,
    /// What is gone or replaced: it leaves what it used when all that came has had the chance to take it over. The server would not send
    /// it again.
    gone: Vec<Gone>,
    /// Scopes of this call, which go live together.
    scopes: Vec<Arc<Scope>>,
    /// Routes whose hosts changed, to be compiled once in the end.
    stale: BTreeSet<RouteConfigName>,
    ready: Vec<Waiter>,
}

/// What is gone.
#[derive(Debug)]
enum Gone {
    Listener(Configured),
    Scope(Arc<Scope>),
}

impl Builder {
    /// Takes changes in, in the order that lets the most of them go live: what is referred to first.
    pub fn apply(&mut self, mut changes: Vec<Change>) -> Applied {
        changes.sort_by_key(Change::rank);
        let mut round = Round::default();
        let mut changes = changes.into_iter().peekable();
        while let Some(change) = changes.next() {
            match change {
                Change::Put(Resource::Scope(scope)) => {
                    round.scopes.push(scope);
                    if !matches!(changes.peek(), Some(Change::Put(Resource::Scope(_)))) {
                        let scopes = std::mem::take(&mut round.scopes);
                        self.put_scopes(scopes, &mut round);
                    }
                }
                Change::PutHost(name, host) => self.put_host(&name, host, &mut round),
                // It has another name to be asked for by.
                Change::Put(Resource::VirtualHost(_)) => {}
                Change::HeardScopes => self.heard_scopes(&mut round),
                Change::Put(Resource::Cluster(cluster)) => self.put_cluster(cluster, &mut round),
                Change::Put(Resource::Endpoints(assignment)) => self.put_endpoints(&assignment, &mut round),
                Change::Put(Resource::Secret(secret)) => self.put_secret(&secret, &mut round),
                Change::Put(Resource::Listener(config)) => self.put_listener(Configured::Tcp(config), &mut round),
                Change::Put(Resource::UdpListener(config)) => self.put_listener(Configured::Udp(config), &mut round),
                Change::Put(Resource::Route(config)) => self.put_routes(config, &mut round),
                Change::Put(Resource::Extension(extension)) => self.put_extension(extension, &mut round),
                Change::Resolved(cluster, endpoints) => self.put_resolved(&cluster, endpoints, &mut round),
                Change::GiveUp(need) => self.give_up(need, &mut round),
                Change::Demand(need) => self.demand(&need, &mut round),
                Change::Refused(need) => self.miss(&need, &mut round),
                Change::Rest(need) => self.rest(&need, &mut round),
                Change::Remove(ResourceKind::Cluster, name) => {
                    self.remove_cluster(&ClusterName::from(Arc::clone(&name)), &mut round);
                    // Its server says so: it is not to be had, if it was asked for by name.
                    self.miss(&Need { kind: ResourceKind::Cluster, name }, &mut round);
                }
                Change::Remove(ResourceKind::Listener, name) => self.remove_listener(&name.into(), &mut round),
                Change::Remove(ResourceKind::Extension, name) => self.remove_extension(&name, &mut round),
                Change::Remove(ResourceKind::ScopedRoute, name) => self.remove_scope(&name, &mut round),
                Change::Remove(ResourceKind::VirtualHost, name) => self.remove_host(&name, &mut round),
                Change::Remove(kind, name) => self.give_up(Need { kind, name }, &mut round),
            }
            self.wake(&mut round);
        }
        while let Some(gone) = round.gone.pop() {
            match gone {
                Gone::Listener(config) => self.leave_what_was_needed_by(&config, &mut round),
                Gone::Scope(scope) => self.leave_routes_of(&scope, &mut round),
            }
            self.wake(&mut round);
        }
        for routes in std::mem::take(&mut round.stale) {
            self.renew_routes(&routes, &mut round);
        }
        self.finish(round)
    }

    /// Who waited for what has come tries again.
    fn wake(&mut self, round: &mut Round) {
        while let Some(waiter) = round.ready.pop() {
            match waiter {
                Waiter::Cluster(name) => self.try_cluster(&name, round),
                Waiter::Route(name) => self.try_routes(&name, round),
                Waiter::Listener(name) => self.try_listener(&name, round),
                Waiter::Scope(name) => self.try_scope(&name, round),
                Waiter::Host(name) => self.try_host(&name, round),
            }
        }
    }

    /// Nobody need wait for it any longer.
    fn give_up(&mut self, need: Need, round: &mut Round) {
        self.miss(&need, round);
        // Endpoints and secrets that were asked for with their cluster: it has not come yet, or waits for something else first, and
        // is not to wait for these when it could.
        if self.lacks_endpoints(&need) || self.lacks_secret(&need) {
            self.waiting.do_without(need.clone());
        }
        round.ready.extend(self.waiting.give_up(need));
    }

    fn finish(&mut self, round: Round) -> Applied {
        if round.listeners_changed {
            self.listeners = Arc::new(self.index_listeners());
        }
        let mut applied = Applied { rejected: round.rejected, superseded: round.superseded, ..Applied::default() };
        for (need, before) in round.touched {
            let now = self.source(&need);
            if before.as_ref() == now.as_ref().map(|source| &source.origin) {
                continue;
            }
            applied.unwanted.extend(before.map(|origin| (need.clone(), origin)));
            applied.wanted.extend(now.map(|source| (need, source)));
        }
        applied.clusters = (!round.listeners_changed).then_some(round.clusters);
        applied.snapshot = (round.is_changed || round.listeners_changed).then(|| self.snapshot());
        applied
    }

    /// Everything that is live, as a snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            version: 0,
            listeners: Arc::clone(&self.listeners),
            clusters: self.clusters.clone(),
            routes: self.routes.clone(),
            extensions: self.live_extensions.clone(),
            scopes: self.scoped.live.clone(),
            cold: self.demand.as_ref().map(|demand| Arc::clone(&demand.marks)).unwrap_or_default(),
        }
    }

    /// What does not go live yet (kind and name), and what it waits for.
    pub fn waiting(&self) -> impl Iterator<Item = (ResourceKind, &str, &Need)> {
        self.waiting.each()
    }

    /// Whether a cluster is live.
    #[must_use]
    pub fn has_cluster(&self, name: &ClusterName) -> bool {
        self.live_cluster(name).is_some()
    }

    /// A snapshot of these listeners and clusters and nothing else, all that there will be: a listener without its clusters is
    /// rejected. `resolved` holds the endpoints of clusters whose endpoints are looked up; one that is missing there has none yet.
    pub fn build(
        &mut self,
        listeners: &[Arc<Listener>],
        clusters: &[Arc<Cluster>],
        resolved: &HashMap<ClusterName, Arc<EndpointSet>>,
    ) -> (Snapshot, Vec<Rejected>) {
        let names: HashSet<_> = clusters.iter().map(|cluster| &cluster.name).collect();
        let gone = self.clusters.iter().map(|live| live.name()).chain(self.warming.keys());
        let gone = gone.filter(|name| !names.contains(name)).map(|name| (ResourceKind::Cluster, name.shared()));
        let names: HashSet<_> = listeners.iter().map(|listener| &listener.name).collect();
        let unheard = self.known.keys().filter(|name| !names.contains(name));
        let unheard = unheard.map(|name| (ResourceKind::Listener, name.shared()));
        let mut changes: Vec<_> = gone.chain(unheard).map(|(kind, name)| Change::Remove(kind, name)).collect();
        changes.extend(clusters.iter().map(|cluster| Change::Put(Resource::Cluster(Arc::clone(cluster)))));
        let known = resolved.iter().map(|(name, endpoints)| Change::Resolved(name.clone(), Arc::clone(endpoints)));
        changes.extend(known);
        changes.extend(listeners.iter().map(|listener| Change::Put(Resource::Listener(Arc::clone(listener)))));
        self.whole(changes)
    }

    /// The snapshot with listeners for UDP as well, to which the same applies.
    pub fn add_udp(&mut self, snapshot: &mut Snapshot, listeners: &[Arc<UdpListener>]) -> Vec<Rejected> {
        let put = |listener: &Arc<UdpListener>| Change::Put(Resource::UdpListener(Arc::clone(listener)));
        let (next, rejected) = self.whole(listeners.iter().map(put).collect());
        *snapshot = next;
        rejected
    }

    fn whole(&mut self, changes: Vec<Change>) -> (Snapshot, Vec<Rejected>) {
        let mut rejected = self.apply(changes).rejected;
        for (_, listener, need) in self.waiting().filter(|(kind, ..)| *kind == ResourceKind::Listener) {
            let cluster = ClusterName::from(&*need.name);
            if need.kind == ResourceKind::Cluster && !self.warming.contains_key(&cluster) {
                rejected.push(Rejected::NoSuchCluster { listener: listener.into(), cluster });
            }
        }
        (self.snapshot(), rejected)
    }

    /// Where something is to be had that is needed.
    #[must_use]
    pub fn source(&self, need: &Need) -> Option<ConfigSource> {
        match need.kind {
            ResourceKind::Endpoints => self.services.get(&need.name).map(|service| service.source.clone()),
            ResourceKind::Secret => self.secrets.get(&need.name).map(|asked| asked.source.clone()),
            ResourceKind::Route if self.demand.as_ref().is_none_or(|demand| demand.wants(need)) => {
                self.discovered.get(&RouteConfigName::from(&*need.name)).map(|routes| routes.source.clone())
            }
            ResourceKind::Cluster => self.demand.as_ref()?.source(need).cloned(),
            ResourceKind::ScopedRoute => self.scopes_source(),
            ResourceKind::VirtualHost => self.host_source(&need.name),
            ResourceKind::Extension => self.extensions.get(&need.name).map(|named| named.source.clone()),
            _ => None,
        }
    }

    /// The slot of a cluster's name, which it keeps.
    fn cluster_slot(&mut self, name: &ClusterName) -> ClusterSlot {
        if let Some(slot) = self.cluster_slots.get(name) {
            return *slot;
        }
        let next = u32::try_from(self.cluster_slots.len()).expect("fewer than 2^32 cluster names in one process");
        let slot = ClusterSlot(next);
        self.cluster_slots.insert(name.clone(), slot);
        if let Some(demand) = &mut self.demand {
            demand.named_cluster(name, slot);
        }
        slot
    }

    fn route_slot(&mut self, name: &RouteConfigName) -> RouteSlot {
        if let Some(slot) = self.route_slots.get(name) {
            return *slot;
        }
        let next = u32::try_from(self.route_slots.len()).expect("fewer than 2^32 names of routes in one process");
        self.route_slots.insert(name.clone(), RouteSlot(next));
        if let Some(demand) = &mut self.demand {
            demand.named_routes(name);
        }
        RouteSlot(next)
    }

    /// The first of these clusters that has to be waited for: none, where whoever needs one can ask.
    fn missing_cluster<'c>(&self, names: impl Iterator<Item = &'c ClusterName>) -> Option<Need> {
        if self.demand.is_some() { None } else { self.absent_cluster(names) }
    }

    /// The first of these clusters that is not there, and not given up.
    fn absent_cluster<'c>(&self, mut names: impl Iterator<Item = &'c ClusterName>) -> Option<Need> {
        names.find_map(|name| {
            let need = Need { kind: ResourceKind::Cluster, name: name.shared() };
            (self.live_cluster(name).is_none() && !self.waiting.has_given_up(&need)).then_some(need)
        })
    }
}

impl Change {
    /// Addresses are freed first, then clusters come before what needs them, and go after it.
    fn rank(&self) -> u8 {
        match self {
            // And keys of scopes.
            Self::Remove(ResourceKind::Listener | ResourceKind::ScopedRoute, _) => 0,
            Self::Put(Resource::Cluster(_)) => 1,
            Self::Put(Resource::Endpoints(_) | Resource::Secret(_)) | Self::Resolved(..) => 2,
            // Before the routes and filters themselves: only those are taken that a listener asks for.
            Self::Put(Resource::Listener(_) | Resource::UdpListener(_)) => 3,
            Self::Put(Resource::Scope(_)) => 4,
            Self::Put(Resource::Extension(_) | Resource::Route(_) | Resource::VirtualHost(_)) | Self::PutHost(..) => 5,
            Self::GiveUp(_) | Self::Demand(_) | Self::Refused(_) | Self::Rest(_) | Self::HeardScopes => 6,
            Self::Remove(..) => 7,
        }
    }
}
