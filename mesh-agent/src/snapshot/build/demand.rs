//! On demand: what is asked for because somebody needs it, and let go when nobody has for a while.
//!
//! With it nothing waits for clusters or routes: listeners go live without, and whoever needs one that is cold asks ([`Cold`]).
//! Resources of the file are there from the start and are never cold. A listener for UDP has nobody who could hold its datagrams, so
//! its cluster is asked for with it, stays as long, and is waited for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::model::cluster::Eds;
use crate::model::management::ConfigSource;
use crate::model::name::{ClusterName, RouteConfigName};
use crate::model::resource::ResourceKind;
use crate::snapshot::build::hosts::Hosts;
use crate::snapshot::build::listener::Configured;
use crate::snapshot::build::{Builder, Need, Round};
use crate::snapshot::demand::{Clock, Cold, Marks, Use};
use crate::snapshot::{ClusterSlot, RouteSlot};

/// What is wanted, and what could be.
#[derive(Debug)]
pub(super) struct Demand {
    /// Where clusters are to be had.
    source: ConfigSource,
    clock: Clock,
    wanted: HashMap<Need, Wanted>,
    /// Clusters that have not come yet, whose endpoints were asked for by the cluster's name: most servers call them so, and then
    /// both come in one round trip.
    guessed: HashSet<ClusterName>,
    /// By slot.
    clusters: Vec<ClusterName>,
    routes: Vec<RouteConfigName>,
    pub(super) marks: Arc<Marks>,
}

/// Something that was asked for.
#[derive(Debug)]
struct Wanted {
    used: Arc<Use>,
    /// Listeners that need it whether it is used or not.
    pins: u32,
}

impl Demand {
    pub(super) fn wants(&self, need: &Need) -> bool {
        self.wanted.contains_key(need)
    }

    pub(super) fn source(&self, need: &Need) -> Option<&ConfigSource> {
        self.wants(need).then_some(&self.source)
    }

    /// Where the uses of a wanted cluster are noted.
    pub(super) fn used(&self, cluster: &ClusterName) -> Option<Arc<Use>> {
        self.wanted.get(&need(ResourceKind::Cluster, &cluster.shared())).map(|wanted| Arc::clone(&wanted.used))
    }

    /// The same for route configurations, wanted or not.
    pub(super) fn new_use(&self) -> Arc<Use> {
        Arc::new(Use::new(&self.clock))
    }

    /// A name got the next slot.
    pub(super) fn named_cluster(&mut self, name: &ClusterName, slot: ClusterSlot) {
        self.clusters.push(name.clone());
        self.mark(&Cold::Cluster(slot), true);
    }

    pub(super) fn named_routes(&mut self, name: &RouteConfigName) {
        self.routes.push(name.clone());
    }

    pub(super) fn mark(&mut self, what: &Cold, is_cold: bool) -> bool {
        let changes = self.marks.has(what) != is_cold;
        if changes {
            Arc::make_mut(&mut self.marks).set(what, is_cold);
        }
        changes
    }

    fn need(&self, cold: &Cold) -> Option<Need> {
        match cold {
            Cold::Cluster(slot) => Some(need(ResourceKind::Cluster, &self.clusters.get(slot.index())?.shared())),
            Cold::Routes(slot) => Some(need(ResourceKind::Route, &self.routes.get(slot.index())?.shared())),
            Cold::Host(..) => None,
        }
    }
}

/// What is wanted by name, at one moment.
#[derive(Debug)]
pub struct Demanded<'a> {
    /// What it is.
    pub need: &'a Need,
    /// When it was used last.
    pub used: &'a Use,
    /// Whether it is live.
    pub is_live: bool,
    /// Whether it is needed even if nobody uses it.
    pub is_pinned: bool,
}

impl Builder {
    /// Clusters and routes are asked for on demand from now on. To be called before anything else.
    #[must_use]
    pub fn on_demand(self, source: ConfigSource, clock: Clock) -> Self {
        let (wanted, guessed, clusters, routes) = (HashMap::new(), HashSet::new(), Vec::new(), Vec::new());
        let hosts = Hosts::by(&clock);
        let demand = Demand { source, clock, wanted, guessed, clusters, routes, marks: Arc::default() };
        Self { demand: Some(demand), hosts, ..self }
    }

    /// Virtual hosts are asked for on demand, whatever else is, by this clock. To be called before anything else.
    #[must_use]
    pub fn with_clock(self, clock: &Clock) -> Self {
        Self { hosts: Hosts::by(clock), ..self }
    }

    /// What something cold is called.
    #[must_use]
    pub fn name_of(&self, cold: &Cold) -> Option<Need> {
        match cold {
            Cold::Host(slot, host) => self.host_need(*slot, host),
            cold => self.demand.as_ref()?.need(cold),
        }
    }

    /// Whether clusters and routes are asked for on demand.
    #[must_use]
    pub fn is_on_demand(&self) -> bool {
        self.demand.is_some()
    }

    /// Everything that was asked for because it was needed.
    pub fn demanded(&self) -> impl Iterator<Item = Demanded<'_>> {
        let wanted = self.demand.iter().flat_map(|demand| &demand.wanted).map(|(need, wanted)| Demanded {
            need,
            used: &wanted.used,
            is_live: self.is_live(need),
            is_pinned: wanted.pins > 0,
        });
        wanted.chain(self.demanded_hosts())
    }

    /// How many clusters are named somewhere, there or not.
    #[must_use]
    pub fn named_clusters(&self) -> usize {
        self.cluster_slots.len()
    }

    /// Whether a cluster was asked for because somebody needs it.
    #[must_use]
    pub fn is_demanded(&self, cluster: &ClusterName) -> bool {
        self.demand.as_ref().is_some_and(|demand| demand.wants(&need(ResourceKind::Cluster, &cluster.shared())))
    }

    fn is_live(&self, need: &Need) -> bool {
        match need.kind {
            ResourceKind::Cluster => self.has_cluster(&ClusterName::from(&*need.name)),
            ResourceKind::Route => self
                .route_slots
                .get(&RouteConfigName::from(&*need.name))
                .is_some_and(|slot| self.routes.get(slot.index()).is_some()),
            _ => false,
        }
    }

    /// Somebody needs it.
    pub(super) fn demand(&mut self, wish: &Need, round: &mut Round) {
        if wish.kind == ResourceKind::VirtualHost {
            return self.demand_host(wish, round);
        }
        let Some(demand) = &self.demand else { return };
        if demand.wants(wish) || self.is_live(wish) {
            return;
        }
        let clock = demand.clock.clone();
        match wish.kind {
            ResourceKind::Cluster => {
                let name = ClusterName::from(Arc::clone(&wish.name));
                // One of the file, which waits for its endpoints.
                if self.warming.contains_key(&name) {
                    return;
                }
                self.cluster_slot(&name);
                self.want(wish.clone(), Arc::new(Use::new(&clock)), round);
                self.guess_endpoints(&name, round);
            }
            ResourceKind::Route => {
                let Some(routes) = self.discovered.get(&RouteConfigName::from(&*wish.name)) else { return };
                let Some(used) = routes.used.clone() else { return };
                used.touch();
                self.want(wish.clone(), used, round);
            }
            _ => {}
        }
    }

    /// Nobody has needed it for a while: it is cold again.
    pub(super) fn rest(&mut self, need: &Need, round: &mut Round) {
        if need.kind == ResourceKind::VirtualHost {
            return self.rest_host(need, round);
        }
        let Some(demand) = &self.demand else { return };
        if demand.wanted.get(need).is_none_or(|wanted| wanted.pins > 0) {
            return;
        }
        let before = self.source(need).map(|source| source.origin);
        round.touched.entry(need.clone()).or_insert(before);
        if let Some(demand) = &mut self.demand {
            demand.wanted.remove(need);
        }
        round.is_changed = true;
        match need.kind {
            ResourceKind::Cluster => {
                let name = ClusterName::from(Arc::clone(&need.name));
                self.settle_guess(&name, round);
                self.remove_cluster(&name, round);
                self.waiting.forget(need);
                self.mark_cluster(&name, true, round);
            }
            ResourceKind::Route => self.forget_routes(&RouteConfigName::from(Arc::clone(&need.name)), round),
            _ => {}
        }
    }

    /// It was asked for, and is not to be had: whoever needs it need not wait. It stays wanted, and may still come.
    pub(super) fn miss(&mut self, need: &Need, round: &mut Round) {
        if need.kind == ResourceKind::VirtualHost {
            return self.miss_host(&need.name, round);
        }
        if self.demand.as_ref().is_none_or(|demand| !demand.wants(need)) {
            return;
        }
        match need.kind {
            ResourceKind::Cluster => {
                let name = ClusterName::from(Arc::clone(&need.name));
                self.settle_guess(&name, round);
                self.mark_cluster(&name, false, round);
            }
            ResourceKind::Route => {
                let slot = self.route_slot(&RouteConfigName::from(Arc::clone(&need.name)));
                self.mark_routes(slot, false, round);
            }
            _ => {}
        }
    }

    /// What a listener needs even if nobody uses it.
    pub(super) fn pin(&mut self, config: &Configured, round: &mut Round) {
        let Some(need) = pinned(config).filter(|_| self.demand.is_some()) else { return };
        if !self.has_cluster(&ClusterName::from(&*need.name)) {
            self.demand(&need, round);
        }
        if let Some(wanted) = self.demand.as_mut().and_then(|demand| demand.wanted.get_mut(&need)) {
            wanted.pins += 1;
        }
    }

    pub(super) fn unpin(&mut self, config: &Configured) {
        let wanted = pinned(config).and_then(|need| self.demand.as_mut()?.wanted.get_mut(&need));
        if let Some(wanted) = wanted {
            wanted.pins = wanted.pins.saturating_sub(1);
        }
    }

    /// The cluster has come, or will not: its endpoints are asked for by what it calls them.
    pub(super) fn settle_guess(&mut self, cluster: &ClusterName, round: &mut Round) {
        if self.demand.as_mut().is_some_and(|demand| demand.guessed.remove(cluster)) {
            self.leave_endpoints(&cluster.shared(), cluster, round);
        }
    }

    pub(super) fn mark_cluster(&mut self, name: &ClusterName, is_cold: bool, round: &mut Round) {
        let slot = self.cluster_slot(name);
        round.is_changed |= self.demand.as_mut().is_some_and(|demand| demand.mark(&Cold::Cluster(slot), is_cold));
    }

    pub(super) fn mark_routes(&mut self, slot: RouteSlot, is_cold: bool, round: &mut Round) {
        round.is_changed |= self.demand.as_mut().is_some_and(|demand| demand.mark(&Cold::Routes(slot), is_cold));
    }

    /// A listener that used these routes is gone, and it was the last.
    pub(super) fn stop_wanting_routes(&mut self, name: &RouteConfigName) {
        if let Some(demand) = &mut self.demand {
            demand.wanted.remove(&need(ResourceKind::Route, &name.shared()));
        }
    }

    fn want(&mut self, need: Need, used: Arc<Use>, round: &mut Round) {
        if let Some(demand) = &mut self.demand {
            round.touched.entry(need.clone()).or_insert(None);
            demand.wanted.insert(need, Wanted { used, pins: 0 });
        }
    }

    fn guess_endpoints(&mut self, cluster: &ClusterName, round: &mut Round) {
        let Some(demand) = &mut self.demand else { return };
        let eds = Eds { service: cluster.shared(), source: demand.source.clone() };
        demand.guessed.insert(cluster.clone());
        self.use_service(&eds, cluster, round);
    }
}

/// The cluster of a listener that cannot wait for it.
fn pinned(config: &Configured) -> Option<Need> {
    match config {
        Configured::Tcp(_) => None,
        Configured::Udp(config) => Some(need(ResourceKind::Cluster, &config.proxy.cluster.shared())),
    }
}

fn need(kind: ResourceKind, name: &Arc<str>) -> Need {
    Need { kind, name: Arc::clone(name) }
}
