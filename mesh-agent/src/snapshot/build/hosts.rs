//! Virtual hosts that come by themselves (VHDS): asked for by `<routes>/<host>` when a request's host is in none that is there.
//!
//! Who asks is a client, so what is asked for is bounded, and let go when nobody has used it for a while. A host that comes is compiled
//! with the others of its route configuration: with as many as are used here, not with all that there are, and once for all that one
//! call changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::model::management::{ConfigSource, Origin};
use crate::model::name::RouteConfigName;
use crate::model::resource::ResourceKind;
use crate::model::route::{Domain, RouteConfig, VirtualHost};
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
    /// Whose each domain of those that are live is, by the resource's name.
    domains: HashMap<Domain, Arc<str>>,
}

#[derive(Debug)]
struct Wanted {
    need: Need,
    used: Arc<Use>,
    /// The server has said that there is none, or nothing.
    is_missing: bool,
}

impl OfRoutes {
    /// Whether anybody needs a virtual host: what it has patterns for is compared with all that is wanted, names are looked up.
    fn is_wanted(&self, name: &str, config: &VirtualHost) -> bool {
        split(name).is_some_and(|(_, host)| self.wanted.contains_key(host))
            || config.domains.iter().any(|domain| match domain {
                Domain::Exact(host) => self.wanted.contains_key(host.as_str()),
                _ => self.wanted.keys().any(|host| serves(config, host)),
            })
    }

    /// Says of all wanted hosts that a virtual host is for whether they are not to be had.
    fn mark(&mut self, config: &VirtualHost, is_missing: bool) {
        let has_patterns = config.domains.iter().any(|domain| !matches!(domain, Domain::Exact(_)));
        if has_patterns {
            let served = self.wanted.iter_mut().filter(|(host, _)| serves(config, host));
            return served.for_each(|(_, wanted)| wanted.is_missing = is_missing);
        }
        for domain in &config.domains {
            if let Domain::Exact(host) = domain
                && let Some(wanted) = self.wanted.get_mut(host.as_str())
            {
                wanted.is_missing = is_missing;
            }
        }
    }

    /// Makes one live, in place of what was under its name.
    fn insert(&mut self, name: &Arc<str>, config: Arc<VirtualHost>) {
        self.remove(name);
        self.domains.extend(config.domains.iter().map(|domain| (domain.clone(), Arc::clone(name))));
        self.live.insert(Arc::clone(name), config);
    }

    fn remove(&mut self, name: &str) -> Option<Arc<VirtualHost>> {
        let gone = self.live.remove(name)?;
        gone.domains.iter().for_each(|domain| drop(self.domains.remove(domain)));
        Some(gone)
    }
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
        if !of.is_wanted(name, &config) {
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
        let fits = self.fits_among_hosts(&routes, name, &config);
        let Some(of) = self.hosts.by_routes.get_mut(&routes) else { return };
        of.pending.remove(name);
        if let Err(source) = fits {
            round.rejected.push(Rejected::VirtualHost { name: Arc::clone(name), source });
            return self.miss_host(name, round);
        }
        of.mark(&config, false);
        of.insert(name, config);
        round.stale.insert(routes);
    }

    /// Whether a host makes sense by itself, and has no domain of another's.
    fn fits_among_hosts(
        &mut self,
        routes: &RouteConfigName,
        name: &Arc<str>,
        config: &Arc<VirtualHost>,
    ) -> Result<(), CompileError> {
        let alone = RouteConfig { name: routes.clone(), virtual_hosts: vec![(**config).clone()], vhds: None };
        self.compile(&Arc::new(alone))?;
        let fixed = self.discovered.get(routes).and_then(|routes| routes.live.as_ref());
        let fixed = || fixed.iter().flat_map(|routes| &routes.virtual_hosts).flat_map(|host| &host.domains);
        let others = self.hosts.by_routes.get(routes).map(|of| &of.domains);
        let is_taken = |domain: &&Domain| {
            let other = others.and_then(|domains| domains.get(*domain));
            other.is_some_and(|other| other != name) || fixed().any(|fixed| fixed == *domain)
        };
        match config.domains.iter().find(is_taken) {
            Some(domain) => Err(CompileError::DuplicateDomain(domain.to_string())),
            None => Ok(()),
        }
    }

    /// It is not to be had for now: whoever needs it need not wait. What is live under its name stays.
    pub(super) fn miss_host(&mut self, name: &Arc<str>, round: &mut Round) {
        let Some((routes, host)) = split(name) else { return };
        let Some(of) = self.hosts.by_routes.get_mut(&routes) else { return };
        // It is there all the same, as it was.
        if of.live.get(name).is_some_and(|live| serves(live, host)) {
            return;
        }
        let Some(wanted) = of.wanted.get_mut(host) else { return };
        wanted.is_missing = true;
        round.stale.insert(routes);
    }

    /// Its server says that it is no more.
    pub(super) fn remove_host(&mut self, name: &Arc<str>, round: &mut Round) {
        let Some((routes, _)) = split(name) else { return };
        let Some(of) = self.hosts.by_routes.get_mut(&routes) else { return };
        self.waiting.release(&Waiter::Host(Arc::clone(name)));
        of.pending.remove(name);
        if let Some(gone) = of.remove(name) {
            of.mark(&gone, true);
            round.stale.insert(routes);
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
        // No others may have become useless.
        let was_for_it = |(name, config): &(&Arc<str>, &Arc<VirtualHost>)| **name == need.name || serves(config, host);
        let useless =
            |(name, config): (&Arc<str>, &Arc<VirtualHost>)| (!of.is_wanted(name, config)).then(|| Arc::clone(name));
        let live: Vec<_> = of.live.iter().filter(was_for_it).filter_map(useless).collect();
        let pending: Vec<_> = of.pending.iter().filter(was_for_it).filter_map(useless).collect();
        for name in live {
            of.remove(&name);
        }
        for name in pending {
            of.pending.remove(&name);
            self.waiting.release(&Waiter::Host(name));
        }
        round.stale.insert(routes);
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

    /// Compiles routes whose hosts have changed. Each fits among the others: that was seen to when it came, or when its routes did.
    pub(super) fn renew_routes(&mut self, routes: &RouteConfigName, round: &mut Round) {
        let Some(config) = self.discovered.get(routes).and_then(|routes| routes.live.clone()) else { return };
        let Ok(table) = self.compile_with_hosts(&config) else { return };
        let slot = self.route_slot(routes);
        self.routes.set(slot.index(), Some(Arc::new(table)));
        round.is_changed = true;
    }
}

/// `<routes>/<host>`: a host has no slash.
fn split(name: &str) -> Option<(RouteConfigName, &str)> {
    let (routes, host) = name.rsplit_once('/')?;
    Some((RouteConfigName::from(routes), host))
}
