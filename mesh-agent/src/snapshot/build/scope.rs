//! Scopes that come by themselves (SRDS): each chooses routes for some requests, and goes live with them.
//!
//! They are one set for all connection managers that ask for it, each of which makes keys in its own way. No two scopes have one key:
//! who comes with a key that another has is refused, and what it was before stays. Scopes of one update may change keys with each other.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::model::filter::{NetworkFilter, RouteSource};
use crate::model::listener::Listener;
use crate::model::management::ConfigSource;
use crate::model::resource::ResourceKind;
use crate::model::scope::{Scope, ScopeKey, ScopedRoutes, Scopes};
use crate::snapshot::Rejected;
use crate::snapshot::build::route::User;
use crate::snapshot::build::waiting::Waiter;
use crate::snapshot::build::{Builder, Gone, Need, Round};
use crate::snapshot::scope::{LiveScope, ScopeTable};

/// All scopes that come by themselves.
#[derive(Debug, Default)]
pub(super) struct Scoped {
    /// Who has them, and their routes. They are asked for from the first time that somebody needs them.
    sources: Option<(ConfigSource, ConfigSource)>,
    known: HashMap<Arc<str>, KnownScope>,
    /// Who has which key.
    keys: HashMap<ScopeKey, Arc<str>>,
    /// Those that wait for their routes.
    pending: BTreeSet<Arc<str>>,
    pub(super) live: ScopeTable,
}

#[derive(Debug)]
struct KnownScope {
    live: Option<Arc<Scope>>,
    pending: Option<Arc<Scope>>,
}

impl KnownScope {
    fn newest(&self) -> Option<&Arc<Scope>> {
        self.pending.as_ref().or(self.live.as_ref())
    }
}

/// Stands for all scopes.
const ALL: &str = "*";

impl Builder {
    /// Takes scopes of one update.
    pub(super) fn put_scopes(&mut self, scopes: Vec<Arc<Scope>>, round: &mut Round) {
        let (elsewhere, scopes): (Vec<_>, Vec<_>) =
            scopes.into_iter().partition(|scope| self.are_routes_of_elsewhere(scope));
        for scope in elsewhere {
            let (name, routes) = (Arc::clone(&scope.name), scope.routes.clone());
            round.rejected.push(Rejected::ScopeElsewhere { name, routes });
        }
        for scope in self.without_conflicts(scopes, round) {
            let name = Arc::clone(&scope.name);
            let known = self.scoped.known.get(&name);
            if known.and_then(KnownScope::newest) == Some(&scope) {
                continue;
            }
            self.use_routes_of(&scope, round);
            let known = self.scoped.known.entry(Arc::clone(&name));
            let known = known.or_insert(KnownScope { live: None, pending: None });
            if let Some(superseded) = known.pending.replace(scope) {
                round.gone.push(Gone::Scope(superseded));
            }
            self.waiting.release(&Waiter::Scope(Arc::clone(&name)));
            self.try_scope(&name, round);
        }
    }

    /// Those of an update whose keys nobody else has. Keys are as they will be: each scope's own is free.
    fn without_conflicts(&mut self, scopes: Vec<Arc<Scope>>, round: &mut Round) -> Vec<Arc<Scope>> {
        let before: HashMap<Arc<str>, Option<Arc<Scope>>> = scopes
            .iter()
            .map(|scope| {
                (Arc::clone(&scope.name), self.scoped.known.get(&scope.name).and_then(KnownScope::newest).cloned())
            })
            .collect();
        for old in before.values().flatten() {
            self.scoped.keys.remove(&old.key);
        }
        let mut taken: HashMap<Arc<str>, Arc<Scope>> = HashMap::new();
        let mut refused = Vec::new();
        for scope in scopes {
            match self.scoped.keys.get(&scope.key) {
                Some(by) => refused.push((Arc::clone(&scope), Arc::clone(by))),
                None => {
                    self.scoped.keys.insert(scope.key.clone(), Arc::clone(&scope.name));
                    taken.insert(Arc::clone(&scope.name), scope);
                }
            }
        }
        while let Some((scope, by)) = refused.pop() {
            round.rejected.push(Rejected::ScopeKey { name: Arc::clone(&scope.name), by });
            // What it was stays, and needs its key; who took that is refused as well.
            let Some(old) = before.get(&scope.name).and_then(Option::as_ref) else { continue };
            let by = self.scoped.keys.insert(old.key.clone(), Arc::clone(&old.name));
            if let Some(other) = by.and_then(|by| taken.remove(&by)) {
                refused.push((other, Arc::clone(&old.name)));
            }
        }
        let mut taken: Vec<_> = taken.into_values().collect();
        taken.sort_by(|one, other| one.name.cmp(&other.name));
        taken
    }

    pub(super) fn try_scope(&mut self, name: &Arc<str>, round: &mut Round) {
        let Some(config) = self.scoped.known.get(name).and_then(|known| known.pending.clone()) else { return };
        if let Some(need) = self.missing_routes(&config.routes) {
            self.scoped.pending.insert(Arc::clone(name));
            return self.waiting.hold(Waiter::Scope(Arc::clone(name)), need);
        }
        self.scoped.pending.remove(name);
        let Some(known) = self.scoped.known.get_mut(name) else { return };
        known.pending = None;
        let before = known.live.replace(Arc::clone(&config));
        if let Some(before) = &before {
            self.scoped.live.remove(before);
        }
        let live = self.live_scope(&config);
        self.scoped.live.add(live);
        round.is_changed = true;
        round.gone.extend(before.map(Gone::Scope));
    }

    pub(super) fn remove_scope(&mut self, name: &Arc<str>, round: &mut Round) {
        let Some(known) = self.scoped.known.remove(name) else { return };
        self.waiting.release(&Waiter::Scope(Arc::clone(name)));
        self.scoped.pending.remove(name);
        if let Some(newest) = known.newest() {
            self.scoped.keys.remove(&newest.key);
        }
        if let Some(live) = &known.live {
            self.scoped.live.remove(live);
            round.is_changed = true;
        }
        round.gone.extend([known.live, known.pending].into_iter().flatten().map(Gone::Scope));
    }

    /// The server has said which scopes there are.
    pub(super) fn heard_scopes(&mut self, round: &mut Round) {
        round.ready.extend(self.waiting.arrived(&all()));
        self.waiting.do_without(all());
    }

    /// What a listener needs before requests of it have scopes: the scopes, and the routes of each.
    pub(super) fn missing_scopes(&self) -> Option<Need> {
        if !self.waiting.has_given_up(&all()) {
            return Some(all());
        }
        let pending = self.scoped.pending.iter().filter_map(|name| self.scoped.known.get(name)?.pending.as_ref());
        pending
            .filter(|scope| self.scoped.known[&scope.name].live.is_none())
            .find_map(|it| self.missing_routes(&it.routes))
    }

    pub(super) fn scopes_source(&self) -> Option<ConfigSource> {
        self.scoped.sources.as_ref().map(|(scopes, _)| scopes.clone())
    }

    /// A listener asks for scopes. From then on they are followed, with their routes, also when nobody does any longer: the server would
    /// not send again what it has sent.
    pub(super) fn use_scopes(&mut self, listener: &Listener, round: &mut Round) {
        for (scopes, routes) in asked(listener) {
            round.touched.entry(all()).or_insert(self.scopes_source().map(|source| source.origin));
            self.scoped.sources.get_or_insert_with(|| (scopes.clone(), routes.clone()));
        }
    }

    /// The scopes that a listener has in place.
    pub(super) fn scope_table(&mut self, scopes: &[Arc<Scope>]) -> ScopeTable {
        let mut table = ScopeTable::default();
        for config in scopes {
            let live = self.live_scope(config);
            table.add(live);
        }
        table
    }

    fn live_scope(&mut self, config: &Arc<Scope>) -> LiveScope {
        let routes = self.route_slot(&config.routes);
        let used = self.discovered.get(&config.routes).and_then(|routes| routes.used.clone());
        LiveScope { config: Arc::clone(config), routes, used }
    }

    fn are_routes_of_elsewhere(&self, scope: &Scope) -> bool {
        let user = User::Scope(Arc::clone(&scope.name));
        self.scoped.sources.as_ref().is_some_and(|(_, source)| self.are_routes_elsewhere(&scope.routes, source, &user))
    }

    fn use_routes_of(&mut self, scope: &Scope, round: &mut Round) {
        let Some((_, source)) = self.scoped.sources.clone() else { return };
        self.use_routes(&scope.routes, &source, &User::Scope(Arc::clone(&scope.name)), round);
    }

    pub(super) fn leave_routes_of(&mut self, scope: &Scope, round: &mut Round) {
        // A listener may wait for them because of this scope alone.
        let need = Need { kind: ResourceKind::Route, name: scope.routes.shared() };
        round.ready.extend(self.waiting.retry(&need));
        self.leave_routes(&scope.routes, &User::Scope(Arc::clone(&scope.name)), round);
    }
}

/// Who has the scopes that a listener asks for, and who has their routes.
fn asked(listener: &Listener) -> impl Iterator<Item = (&ConfigSource, &ConfigSource)> {
    listener.all_chains().filter_map(|chain| match &chain.filter {
        NetworkFilter::Http(http) => match &http.routes {
            RouteSource::Scoped(scoped) => match &**scoped {
                ScopedRoutes { scopes: Scopes::Discovered(source), routes, .. } => Some((source, routes)),
                ScopedRoutes { scopes: Scopes::Inline(_), .. } => None,
            },
            RouteSource::Inline(_) | RouteSource::Discovered(_) => None,
        },
        NetworkFilter::Tcp(_) => None,
    })
}

fn all() -> Need {
    Need { kind: ResourceKind::ScopedRoute, name: ALL.into() }
}
