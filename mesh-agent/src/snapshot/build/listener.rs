//! Listeners: names to slots, and who has which address.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use crate::model::extension::{Discovery, Place, Placed as _, Router};
use crate::model::filter::{NetworkFilter, RouteSource};
use crate::model::flow::Direction;
use crate::model::listener::{FilterChain, Listener, UdpListener};
use crate::model::management::ConfigSource;
use crate::model::name::{ClusterName, ListenerName, RouteConfigName};
use crate::model::resource::ResourceKind;
use crate::model::scope::Scopes;
use crate::route;
use crate::route::RouteTable;
use crate::snapshot::build::route::User;
use crate::snapshot::build::waiting::Waiter;
use crate::snapshot::build::{Builder, Gone, Need, Round};
use crate::snapshot::{
    HttpChain, Kept, Listeners, LiveChain, LiveFilter, LiveListener, LiveRouter, LiveUdp, Rejected, Routes, TcpChain,
};

/// What only one listener can have: connections of a direction, or datagrams, to an address. `None`: UDP.
pub(super) type Claim = (Option<Direction>, SocketAddr);

/// A listener as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Configured {
    Tcp(Arc<Listener>),
    Udp(Arc<UdpListener>),
}

/// A listener as it is live.
#[derive(Clone, Debug)]
enum Live {
    Tcp(Arc<LiveListener>),
    Udp(LiveUdp),
}

/// A listener that there is, or is to be.
#[derive(Debug)]
pub(super) struct Known {
    order: u64,
    live: Option<Live>,
    pending: Option<Configured>,
}

impl Builder {
    pub(super) fn put_listener(&mut self, config: Configured, round: &mut Round) {
        let name = config.name().clone();
        self.count += 1;
        let new = Known { order: self.count, live: None, pending: None };
        let known = self.known.entry(name.clone()).or_insert(new);
        let live = known.live.as_ref().map(Live::config);
        if known.pending.as_ref().or(live.as_ref()) == Some(&config) {
            return;
        }
        if let Some(rejected) = self.of_two_sources(&config) {
            if self.known.get(&name).is_some_and(|known| known.live.is_none() && known.pending.is_none()) {
                self.known.remove(&name);
            }
            return round.rejected.push(rejected);
        }
        self.use_what_is_needed_by(&config, round);
        let Some(known) = self.known.get_mut(&name) else { return };
        let superseded = known.pending.replace(config);
        if let Some(superseded) = superseded {
            round.gone.push(Gone::Listener(superseded));
        }
        self.waiting.release(&Waiter::Listener(name.clone()));
        self.try_listener(&name, round);
    }

    /// Makes a pending listener live if it has all it needs.
    pub(super) fn try_listener(&mut self, name: &ListenerName, round: &mut Round) {
        let Some(config) = self.known.get(name).and_then(|known| known.pending.clone()) else { return };
        if let Some(need) = self.missing(&config) {
            return self.waiting.hold(Waiter::Listener(name.clone()), need);
        }
        let result = self.check_claim(&config).and_then(|()| self.resolve(&config));
        let Some(known) = self.known.get_mut(name) else { return };
        known.pending = None;
        match result {
            Ok(live) => {
                let kept = live.http_chains();
                if let Some(before) = known.live.replace(live) {
                    let gone = before.http_chains().into_iter();
                    self.supersede(gone.filter(|chain| !kept.iter().any(|kept| Arc::ptr_eq(kept, chain))), round);
                    let before = before.config();
                    self.claims.remove(&before.claim());
                    round.gone.push(Gone::Listener(before));
                }
                self.claims.insert(config.claim(), name.clone());
                round.listeners_changed = true;
            }
            Err(rejected) => {
                if known.live.is_none() {
                    self.known.remove(name);
                }
                round.gone.push(Gone::Listener(config));
                round.rejected.push(rejected);
            }
        }
    }

    /// Makes a live listener anew from what it is made of, which has changed; its chains stay.
    pub(super) fn renew_listener(&mut self, name: &ListenerName, round: &mut Round) {
        let Some(config) = self.known.get(name).and_then(|known| known.live.as_ref()).map(Live::config) else { return };
        // It was resolved before, and everything it names has its slot.
        let Ok(live) = self.resolve(&config) else { return };
        if let Some(known) = self.known.get_mut(name) {
            known.live = Some(live);
            round.listeners_changed = true;
        }
    }

    pub(super) fn remove_listener(&mut self, name: &ListenerName, round: &mut Round) {
        let Some(known) = self.known.remove(name) else { return };
        self.waiting.release(&Waiter::Listener(name.clone()));
        if let Some(config) = known.pending {
            round.gone.push(Gone::Listener(config));
        }
        if let Some(live) = known.live {
            self.supersede(live.http_chains().into_iter(), round);
            let config = live.config();
            self.claims.remove(&config.claim());
            round.gone.push(Gone::Listener(config));
            round.listeners_changed = true;
        }
    }

    /// No listener has these chains any longer. To be called before their routes are left: who has one still keeps them as they are.
    fn supersede(&self, chains: impl Iterator<Item = Arc<HttpChain>>, round: &mut Round) {
        for chain in chains {
            if let Routes::Discovered { slot, last, .. } = &chain.routes
                && let Some(table) = self.routes.get(slot.index())
            {
                last.get_or_init(|| Arc::clone(table));
            }
            if let Routes::Scoped { last, .. } = &chain.routes {
                last.get_or_init(|| Kept { scopes: self.scoped.live.clone(), routes: self.routes.clone() });
            }
            if let LiveRouter::Discovered { slot, last, .. } = &chain.router
                && let Some(router) = self.live_extensions.get(slot.index()).and_then(|live| Router::of(&live.filter))
            {
                last.get_or_init(|| *router);
            }
            round.superseded.push(chain);
        }
    }

    /// The live listeners, to be found by address and by name.
    pub(super) fn index_listeners(&self) -> Listeners {
        let mut live: Vec<_> = self.known.values().filter_map(|it| Some((it.order, it.live.as_ref()?))).collect();
        live.sort_by_key(|(order, _)| *order);
        let mut listeners = Listeners::default();
        for (_, live) in live {
            match live {
                Live::Tcp(live) => listeners.add(Arc::clone(live)),
                Live::Udp(live) => listeners.udp.push(live.clone()),
            }
        }
        listeners
    }

    /// The first thing that a listener can't do without.
    fn missing(&self, config: &Configured) -> Option<Need> {
        match config {
            Configured::Tcp(config) => {
                let mut needs = config.all_chains().filter_map(|chain| match &chain.filter {
                    NetworkFilter::Http(http) => match &http.routes {
                        RouteSource::Inline(routes) => self.missing_cluster(routes.clusters()),
                        RouteSource::Discovered(rds) => self.missing_routes(&rds.name),
                        RouteSource::Scoped(scoped) => match &scoped.scopes {
                            Scopes::Inline(all) => all.iter().find_map(|scope| self.missing_routes(&scope.routes)),
                            Scopes::Discovered(_) => self.missing_scopes(),
                        },
                    },
                    NetworkFilter::Tcp(tcp) => self.missing_cluster(tcp.clusters.iter().map(|cluster| &cluster.name)),
                });
                needs.next().or_else(|| self.missing_extension(config))
            }
            Configured::Udp(config) => self.absent_cluster([&config.proxy.cluster].into_iter()),
        }
    }

    fn check_claim(&self, config: &Configured) -> Result<(), Rejected> {
        let claim = config.claim();
        match self.claims.get(&claim).filter(|by| *by != config.name()) {
            Some(by) => {
                let (listener, address) = (config.name().clone(), claim.1);
                Err(Rejected::AddressTaken { listener, address, by: by.clone() })
            }
            None => Ok(()),
        }
    }

    fn resolve(&mut self, config: &Configured) -> Result<Live, Rejected> {
        match config {
            Configured::Tcp(config) => {
                let before = match self.known.get(&config.name).and_then(|known| known.live.clone()) {
                    // At another address it is another listener, whatever its name.
                    Some(Live::Tcp(before)) if before.config.address == config.address => Some(before),
                    _ => None,
                };
                let mut chain = |chain: &FilterChain| self.chain(&config.name, chain, before.as_deref());
                Ok(Live::Tcp(Arc::new(LiveListener {
                    config: Arc::clone(config),
                    chains: config.chains.iter().map(&mut chain).collect::<Result<_, _>>()?,
                    default_chain: config.default_chain.as_ref().map(chain).transpose()?,
                })))
            }
            Configured::Udp(config) => {
                let live = self.live_cluster(&config.proxy.cluster);
                if live.is_some_and(|live| live.tls.is_some()) {
                    let (listener, cluster) = (config.name.clone(), config.proxy.cluster.clone());
                    return Err(Rejected::UdpTls { listener, cluster });
                }
                let endpoints = live.map_or(&[][..], |cluster| &cluster.endpoints.endpoints);
                match endpoints.iter().find(|endpoint| endpoint.address.is_ipv4() != config.address.is_ipv4()) {
                    Some(endpoint) => {
                        Err(Rejected::Family { listener: config.name.clone(), endpoint: endpoint.address })
                    }
                    None => {
                        let cluster = self.cluster_slot(&config.proxy.cluster);
                        Ok(Live::Udp(LiveUdp { config: Arc::clone(config), cluster }))
                    }
                }
            }
        }
    }

    /// The chain that was live `before` if it is the same: its connections go on as if nothing had happened.
    fn chain(
        &mut self,
        listener: &ListenerName,
        chain: &FilterChain,
        before: Option<&LiveListener>,
    ) -> Result<LiveChain, Rejected> {
        let mut kept = before.into_iter().flat_map(|it| it.config.all_chains().zip(it.all_chains()));
        if let Some((_, live)) = kept.find(|(config, _)| *config == chain) {
            return Ok(LiveChain { authorization: self.authorization(chain), ..live.clone() });
        }
        let filter = match &chain.filter {
            NetworkFilter::Http(config) => {
                let routes = match &config.routes {
                    RouteSource::Inline(routes) => {
                        let reject = |source| Rejected::Routes { listener: listener.clone(), source };
                        Routes::Fixed(Arc::new(self.compile(routes).map_err(reject)?))
                    }
                    RouteSource::Discovered(rds) => {
                        let slot = self.route_slot(&rds.name);
                        let first = self.routes.get(slot.index()).cloned();
                        let none = || Arc::new(RouteTable::empty(&rds.name));
                        let used = self.discovered.get(&rds.name).and_then(|routes| routes.used.clone());
                        Routes::Discovered { slot, first: first.unwrap_or_else(none), last: OnceLock::new(), used }
                    }
                    RouteSource::Scoped(scoped) => {
                        let scopes = match &scoped.scopes {
                            Scopes::Inline(all) => Some(self.scope_table(all)),
                            Scopes::Discovered(_) => None,
                        };
                        Routes::Scoped { config: Arc::clone(scoped), scopes, last: OnceLock::new() }
                    }
                };
                let router = match &config.router {
                    Place::Fixed(router) => LiveRouter::Fixed(*router),
                    Place::Discovered(Discovery { name, default, .. }) => {
                        let slot = self.extension_slot(name);
                        LiveRouter::Discovered { slot, default: *default, last: OnceLock::new() }
                    }
                };
                let config = Arc::clone(config);
                LiveFilter::Http(Arc::new(HttpChain { config, routes, router, superseded: false.into() }))
            }
            NetworkFilter::Tcp(config) => {
                for cluster in &config.clusters {
                    self.cluster_slot(&cluster.name);
                }
                let slot = |name: &ClusterName| self.cluster_slots.get(name).copied();
                let clusters = route::weighted(&config.clusters, &slot).ok().flatten();
                let clusters = clusters.ok_or_else(|| Rejected::Weights { listener: listener.clone() })?;
                LiveFilter::Tcp(Arc::new(TcpChain { config: Arc::clone(config), clusters }))
            }
        };
        Ok(LiveChain { matches: chain.matches.clone(), authorization: self.authorization(chain), filter })
    }

    /// Why what a listener asks for by name cannot come from where it says, or cannot be what it says, if so.
    fn of_two_sources(&self, config: &Configured) -> Option<Rejected> {
        let rejected = |kind, name| Rejected::TwoSources { listener: config.name().clone(), kind, name };
        let user = User::Listener(config.name().clone());
        let rds = |(name, source): &(&RouteConfigName, &ConfigSource)| {
            let mut own = config.discovered().filter(|(other, _)| other == name);
            own.any(|(_, other)| other.origin != source.origin) || self.are_routes_elsewhere(name, source, &user)
        };
        if let Some((name, _)) = config.discovered().find(rds) {
            return Some(rejected(ResourceKind::Route, name.shared()));
        }
        let Configured::Tcp(listener) = config else { return None };
        let all = || listener.all_chains().flat_map(FilterChain::extensions);
        let asked = all().find(|asked| {
            let mut own = all().filter(|other| other.name == asked.name);
            own.any(|other| other.source.origin != asked.source.origin)
                || self.is_extension_elsewhere(asked, config.name())
        });
        if let Some(asked) = asked {
            return Some(rejected(ResourceKind::Extension, Arc::clone(asked.name)));
        }
        all().find_map(|asked| {
            let own = all().find(|other| other.name == asked.name && other.message != asked.message);
            let other = own.map(|own| own.message).or_else(|| self.other_type(&asked, config.name()))?;
            let (listener, extension) = (config.name().clone(), Arc::clone(asked.name));
            Some(Rejected::TwoTypes { listener, extension, wanted: asked.message, other })
        })
    }

    fn use_what_is_needed_by(&mut self, config: &Configured, round: &mut Round) {
        for (name, source) in config.discovered() {
            self.use_routes(name, source, &User::Listener(config.name().clone()), round);
        }
        if let Configured::Tcp(config) = config {
            self.use_scopes(config, round);
            self.use_extensions(config, round);
        }
        self.pin(config, round);
    }

    pub(super) fn leave_what_was_needed_by(&mut self, config: &Configured, round: &mut Round) {
        for (name, _) in config.discovered() {
            self.leave_routes(name, &User::Listener(config.name().clone()), round);
        }
        if let Configured::Tcp(config) = config {
            self.leave_extensions(config, round);
        }
        self.unpin(config);
    }
}

impl Configured {
    fn name(&self) -> &ListenerName {
        match self {
            Self::Tcp(config) => &config.name,
            Self::Udp(config) => &config.name,
        }
    }

    fn claim(&self) -> Claim {
        match self {
            Self::Tcp(config) => (Some(config.direction), config.address),
            Self::Udp(config) => (None, config.address),
        }
    }

    /// The routes it asks for by name.
    fn discovered(&self) -> impl Iterator<Item = (&RouteConfigName, &ConfigSource)> {
        let chains = match self {
            Self::Tcp(config) => Some(config.all_chains()),
            Self::Udp(_) => None,
        };
        chains.into_iter().flatten().flat_map(|chain| match &chain.filter {
            NetworkFilter::Http(http) => match &http.routes {
                RouteSource::Discovered(rds) => vec![(&rds.name, &rds.source)],
                RouteSource::Scoped(scoped) => match &scoped.scopes {
                    Scopes::Inline(all) => all.iter().map(|scope| (&scope.routes, &scoped.routes)).collect(),
                    Scopes::Discovered(_) => Vec::new(),
                },
                RouteSource::Inline(_) => Vec::new(),
            },
            NetworkFilter::Tcp(_) => Vec::new(),
        })
    }
}

impl Live {
    fn http_chains(&self) -> Vec<Arc<HttpChain>> {
        match self {
            Self::Tcp(live) => live.http_chains().cloned().collect(),
            Self::Udp(_) => Vec::new(),
        }
    }

    fn config(&self) -> Configured {
        match self {
            Self::Tcp(live) => Configured::Tcp(Arc::clone(&live.config)),
            Self::Udp(live) => Configured::Udp(Arc::clone(&live.config)),
        }
    }
}
