//! Route configurations that come by themselves: each compiled once, whoever uses it.

use std::sync::Arc;

use crate::model::management::ConfigSource;
use crate::model::name::{ListenerName, RouteConfigName};
use crate::model::resource::ResourceKind;
use crate::model::route::RouteConfig;
use crate::route::RouteTable;
use crate::snapshot::build::demand::Demand;
use crate::snapshot::build::waiting::Waiter;
use crate::snapshot::build::{Builder, Need, Round};
use crate::snapshot::{Rejected, Use};

/// Routes that some listener or scope asks for by name.
#[derive(Debug)]
pub(super) struct Discovered {
    pub(super) source: ConfigSource,
    pub(super) live: Option<Arc<RouteConfig>>,
    pending: Option<Arc<RouteConfig>>,
    /// Listeners and scopes, live or pending, that use them; one may stand here more than once.
    users: Vec<User>,
    /// When they were used last, if that matters.
    pub(super) used: Option<Arc<Use>>,
}

/// Who uses routes by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum User {
    Listener(ListenerName),
    Scope(Arc<str>),
}

impl Builder {
    pub(super) fn put_routes(&mut self, config: Arc<RouteConfig>, round: &mut Round) {
        // It was on its way when it was let go: nobody would let it go again.
        if self.demand.as_ref().is_some_and(|demand| !demand.wants(&need(&config.name))) {
            return;
        }
        let Some(routes) = self.discovered.get_mut(&config.name) else { return };
        if routes.pending.as_ref().or(routes.live.as_ref()).is_some_and(|newest| **newest == *config) {
            return;
        }
        let name = config.name.clone();
        routes.pending = Some(config);
        self.waiting.release(&Waiter::Route(name.clone()));
        self.try_routes(&name, round);
    }

    /// Makes pending routes live if their clusters are.
    pub(super) fn try_routes(&mut self, name: &RouteConfigName, round: &mut Round) {
        let Some(config) = self.discovered.get(name).and_then(|routes| routes.pending.clone()) else { return };
        if let Some(need) = self.missing_cluster(config.clusters()) {
            return self.waiting.hold(Waiter::Route(name.clone()), need);
        }
        let table = self.compile_with_hosts(&config);
        let slot = self.route_slot(name);
        let Some(routes) = self.discovered.get_mut(name) else { return };
        routes.pending = None;
        match table {
            Ok(table) => {
                let has_all = config.vhds.is_none();
                routes.live = Some(config);
                self.routes.set(slot.index(), Some(Arc::new(table)));
                round.is_changed = true;
                round.ready.extend(self.waiting.arrived(&need(name)));
                if has_all {
                    self.forget_hosts(name, round);
                }
            }
            Err(source) => {
                round.rejected.push(Rejected::RouteConfig { name: name.clone(), source });
                self.miss(&need(name), round);
            }
        }
    }

    /// What a listener needs before it can use these routes. `None`: nothing more.
    pub(super) fn missing_routes(&self, name: &RouteConfigName) -> Option<Need> {
        let is_live = self.discovered.get(name).is_some_and(|routes| routes.live.is_some());
        Some(need(name)).filter(|need| !is_live && self.demand.is_none() && !self.waiting.has_given_up(need))
    }

    pub(super) fn use_routes(&mut self, name: &RouteConfigName, source: &ConfigSource, user: &User, round: &mut Round) {
        round.touched.entry(need(name)).or_insert(self.source(&need(name)).map(|source| source.origin));
        if let Some(routes) = self.discovered.get_mut(name) {
            // What has come from elsewhere serves until the new source has something.
            routes.source = source.clone();
            return routes.users.push(user.clone());
        }
        let used = self.demand.as_ref().map(Demand::new_use);
        let routes = Discovered { source: source.clone(), live: None, pending: None, users: vec![user.clone()], used };
        self.discovered.insert(name.clone(), routes);
        let slot = self.route_slot(name);
        self.mark_routes(slot, true, round);
    }

    /// Whether another listener, or a scope, has routes of that name from another source. There is one of each name here.
    pub(super) fn are_routes_elsewhere(&self, name: &RouteConfigName, source: &ConfigSource, user: &User) -> bool {
        self.discovered.get(name).is_some_and(|routes| {
            routes.source.origin != source.origin && routes.users.iter().any(|other| other != user)
        })
    }

    /// Somebody does not use these routes any longer; if it was the last, they are forgotten.
    pub(super) fn leave_routes(&mut self, name: &RouteConfigName, user: &User, round: &mut Round) {
        let Some(routes) = self.discovered.get_mut(name) else { return };
        if let Some(index) = routes.users.iter().position(|other| other == user) {
            routes.users.remove(index);
        }
        if routes.users.is_empty() {
            let before = self.source(&need(name)).map(|source| source.origin);
            round.touched.entry(need(name)).or_insert(before);
            self.forget_routes(name, round);
            self.stop_wanting_routes(name);
            self.discovered.remove(name);
            let slot = self.route_slot(name);
            self.mark_routes(slot, false, round);
        }
    }

    /// What is known of these routes is not known any longer.
    pub(super) fn forget_routes(&mut self, name: &RouteConfigName, round: &mut Round) {
        let Some(routes) = self.discovered.get_mut(name) else { return };
        (routes.live, routes.pending) = (None, None);
        self.forget_hosts(name, round);
        self.waiting.release(&Waiter::Route(name.clone()));
        self.waiting.forget(&need(name));
        let slot = self.route_slot(name);
        self.routes.set(slot.index(), None);
        self.mark_routes(slot, true, round);
        round.is_changed = true;
    }

    /// The table of these routes; a cluster that is not there has its slot all the same.
    pub(super) fn compile(&mut self, config: &Arc<RouteConfig>) -> Result<RouteTable, crate::route::CompileError> {
        for cluster in config.clusters() {
            self.cluster_slot(cluster);
        }
        RouteTable::compile(config, &|name| self.cluster_slots.get(name).copied())
    }
}

fn need(name: &RouteConfigName) -> Need {
    Need { kind: ResourceKind::Route, name: name.shared() }
}
