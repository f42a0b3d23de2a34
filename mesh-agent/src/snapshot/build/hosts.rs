//! Virtual hosts that come by themselves (VHDS): asked for by `<routes>/<host>` when a request's host is in none that is there.
//!
//! Who asks is a client, so what is asked for is bounded, and let go when nobody has used it for a while. A host that comes is compiled
//! with the others of its route configuration: with as many as are used here, not with all that there are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::model::management::{ConfigSource, Origin};
use crate::model::name::RouteConfigName;
use crate::model::resource::ResourceKind;
use crate::model::route::{RouteConfig, VirtualHost};
use crate::route::{CompileError, RouteTable, serves};
use crate::snapshot::build::waiting::Waiter;
use crate::snapshot::build::{Builder, Demanded, Need, Round};
use crate::snapshot::demand::{Clock, Use};
use crate::snapshot::{Rejected, RouteSlot};

/// Hosts that are asked for at a time, there or not.
const MOST: usize = 4096;

/// All of them, by route configuration.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    clock: Clock,
    by_routes: HashMap<RouteConfigName, OfRoutes>,
    /// The route configurations that have any, by slot.
    names: HashMap<RouteSlot, RouteConfigName>,
}

/// Those of one route configuration.
#[derive(Debug, Default)]
struct OfRoutes {
    /// By host, as clients write it.
    wanted: BTreeMap<Arc<str>, Wanted>,
    /// By the resource's name.
    live: BTreeMap<Arc<str>, Arc<VirtualHost>>,
    /// Those that wait for their clusters.
    pending: BTreeMap<Arc<str>, Arc<VirtualHost>>,
}

#[derive(Debug)]
struct Wanted {
    need: Need,
    used: Arc<Use>,
    /// The server has said that there is none, or nothing.
    is_missing: bool,
}

impl Hosts {
    pub(super) fn by(clock: &Clock) -> Self {
        Self { clock: clock.clone(), ..Self::default() }
    }

    fn count(&self) -> usize {
        self.by_routes.values().map(|of| of.wanted.len()).sum()
    }

    pub(super) fn wants(&self, name: &str) -> bool {
        let found = split(name).and_then(|(routes, host)| self.by_routes.get(&routes)?.wanted.get(host));
        found.is_some()
    }
}

impl Builder {
    /// The table of routes that came by themselves, with the hosts that did.
    pub(super) fn compile_with_hosts(&mut self, config: &Arc<RouteConfig>) -> Result<RouteTable, CompileError> {
        if config.vhds.is_none() {
            return self.compile(config);
        }
        let slot = self.route_slot(&config.name);
        self.hosts.names.insert(slot, config.name.clone());
        let mut whole = (**config).clone();
        let live = self.hosts.by_routes.get(&config.name).map(|of| of.live.values());
        whole.virtual_hosts.extend(live.into_iter().flatten().map(|host| (**host).clone()));
        let mut table = self.compile(&Arc::new(whole))?;
        let wanted = self.hosts.by_routes.get(&config.name).map(|of| &of.wanted);
        let wanted = wanted.into_iter().flatten().map(|(host, wanted)| (host, &wanted.used, wanted.is_missing));
        table.discover(slot, wanted);
        Ok(table)
    }

    /// What a host that has to be asked for is called.
    pub(super) fn host_need(&self, slot: RouteSlot, host: &str) -> Option<Need> {
        let name = format!("{}/{host}", self.hosts.names.get(&slot)?).into();
        Some(Need { kind: ResourceKind::VirtualHost, name })
    }

    pub(super) fn demand_host(&mut self, need: &Need, round: &mut Round) {
        let Some((routes, host)) = split(&need.name) else { return };
        if self.hosts_source(&routes).is_none() || self.hosts.wants(&need.name) {
            return;
        }
        if self.hosts.count() >= MOST && !self.make_room(round) {
            return;
        }
        let used = Arc::new(Use::new(&self.hosts.clock));
        round.touched.entry(need.clone()).or_insert(None);
        let wanted = Wanted { need: need.clone(), used, is_missing: false };
        self.hosts.by_routes.entry(routes).or_default().wanted.insert(host.into(), wanted);
    }

    /// Whether something that does not exist could be let go for something that may.
    fn make_room(&mut self, round: &mut Round) -> bool {
        let all = self.hosts.by_routes.values().flat_map(|of| of.wanted.values());
        let oldest = all.filter(|wanted| wanted.is_missing).max_by_key(|wanted| wanted.used.idle());
        let Some(need) = oldest.map(|wanted| wanted.need.clone()) else { return false };
        self.rest_host(&need, round);
        true
    }

    pub(super) fn put_host(&mut self, name: &Arc<str>, config: Arc<VirtualHost>, round: &mut Round) {
        let Some((routes, _)) = split(name) else { return };
        let Some(of) = self.hosts.by_routes.get_mut(&routes) else { return };
        // It was on its way when it was let go: nobody would let it go again.
        if !of.wanted.iter().any(|(host, wanted)| wanted.need.name == *name || serves(&config, host)) {
            return;
        }
        if of.pending.get(name).or(of.live.get(name)) == Some(&config) {
            return;
        }
        of.pending.insert(Arc::clone(name), config);
        self.waiting.release(&Waiter::Host(Arc::clone(name)));
        self.try_host(name, round);
    }

    /// Makes a pending host live if its clusters are.
    pub(super) fn try_host(&mut self, name: &Arc<str>, round: &mut Round) {
        let Some((routes, _)) = split(name) else { return };
        let pending = self.hosts.by_routes.get(&routes).and_then(|of| of.pending.get(name)).cloned();
        let Some(config) = pending else { return };
        if let Some(need) = self.missing_cluster(config.clusters()) {
            return self.waiting.hold(Waiter::Host(Arc::clone(name)), need);
        }
        let Some(of) = self.hosts.by_routes.get_mut(&routes) else { return };
        of.pending.remove(name);
        let before = of.live.insert(Arc::clone(name), config);
        if let Err(source) = self.renew_routes(&routes, round) {
            round.rejected.push(Rejected::VirtualHost { name: Arc::clone(name), source });
            let Some(of) = self.hosts.by_routes.get_mut(&routes) else { return };
            match before {
                Some(before) => drop(of.live.insert(Arc::clone(name), before)),
                None => drop(of.live.remove(name)),
            }
            self.miss_host(name, round);
        }
    }

    /// It is not to be had for now: whoever needs it need not wait. What is live under its name stays.
    pub(super) fn miss_host(&mut self, name: &Arc<str>, round: &mut Round) {
        let Some((routes, host)) = split(name) else { return };
        let Some(of) = self.hosts.by_routes.get_mut(&routes) else { return };
        let Some(wanted) = of.wanted.get_mut(host) else { return };
        wanted.is_missing = true;
        // What was live before is compiled as it was.
        let _ = self.renew_routes(&routes, round);
    }

    /// Its server says that it is no more.
    pub(super) fn remove_host(&mut self, name: &Arc<str>, round: &mut Round) {
        let Some((routes, _)) = split(name) else { return };
        let Some(of) = self.hosts.by_routes.get_mut(&routes) else { return };
        self.waiting.release(&Waiter::Host(Arc::clone(name)));
        of.pending.remove(name);
        if let Some(gone) = of.live.remove(name) {
            for (_, wanted) in of.wanted.iter_mut().filter(|(host, _)| serves(&gone, host)) {
                wanted.is_missing = true;
            }
            let _ = self.renew_routes(&routes, round);
        }
        self.miss_host(name, round);
    }

    /// Nobody has needed it for a while.
    pub(super) fn rest_host(&mut self, need: &Need, round: &mut Round) {
        let Some((routes, host)) = split(&need.name) else { return };
        let Some(of) = self.hosts.by_routes.get_mut(&routes) else { return };
        if of.wanted.remove(host).is_none() {
            return;
        }
        round.touched.entry(need.clone()).or_insert(Some(Origin::Server));
        let OfRoutes { wanted, live, pending } = of;
        live.retain(|_, config| wanted.keys().any(|host| serves(config, host)));
        pending.retain(|name, config| {
            let stays = wanted.keys().any(|host| serves(config, host));
            if !stays {
                self.waiting.release(&Waiter::Host(Arc::clone(name)));
            }
            stays
        });
        let _ = self.renew_routes(&routes, round);
    }

    /// Their route configuration is gone, or has them all itself.
    pub(super) fn forget_hosts(&mut self, routes: &RouteConfigName, round: &mut Round) {
        let Some(of) = self.hosts.by_routes.remove(routes) else { return };
        for wanted in of.wanted.into_values() {
            round.touched.entry(wanted.need).or_insert(Some(Origin::Server));
        }
        for name in of.pending.into_keys() {
            self.waiting.release(&Waiter::Host(name));
        }
    }

    /// Who has the hosts of a route configuration, if they come by themselves.
    pub(super) fn hosts_source(&self, routes: &RouteConfigName) -> Option<ConfigSource> {
        self.discovered.get(routes)?.live.as_ref()?.vhds.clone()
    }

    pub(super) fn host_source(&self, name: &str) -> Option<ConfigSource> {
        let (routes, _) = split(name)?;
        self.hosts.wants(name).then(|| self.hosts_source(&routes)).flatten()
    }

    /// Everything that is asked for.
    pub(super) fn demanded_hosts(&self) -> impl Iterator<Item = Demanded<'_>> {
        self.hosts.by_routes.iter().flat_map(|(routes, of)| {
            let table = self.route_slots.get(routes).and_then(|slot| self.routes.get(slot.index()));
            of.wanted.iter().map(move |(host, wanted)| Demanded {
                need: &wanted.need,
                used: &wanted.used,
                is_live: table.is_some_and(|table| table.has_host(host)),
                is_pinned: false,
            })
        })
    }

    fn renew_routes(&mut self, routes: &RouteConfigName, round: &mut Round) -> Result<(), CompileError> {
        let Some(config) = self.discovered.get(routes).and_then(|routes| routes.live.clone()) else { return Ok(()) };
        let table = self.compile_with_hosts(&config)?;
        let slot = self.route_slot(routes);
        self.routes.set(slot.index(), Some(Arc::new(table)));
        round.is_changed = true;
        Ok(())
    }
}

/// `<routes>/<host>`: a host has no slash.
fn split(name: &str) -> Option<(RouteConfigName, &str)> {
    let (routes, host) = name.rsplit_once('/')?;
    Some((RouteConfigName::from(routes), host))
}
