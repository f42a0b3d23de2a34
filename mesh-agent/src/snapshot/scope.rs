//! Which scope a request is in: scopes by key.
//!
//! A key's hash is a slot with the few scopes that share it, so another scope is another version of one slot, however many there are.

use std::borrow::Cow;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, LazyLock};

use crate::model::scope::Scope;
use crate::route::RouteTable;
use crate::snapshot::slots::Slots;
use crate::snapshot::{RouteSlot, Use};

/// Slots that keys are spread over.
const SPREAD: u64 = 1 << 12;

/// Scopes by key. Copies share all but what changed.
#[derive(Clone, Debug, Default)]
pub struct ScopeTable(Slots<Vec<LiveScope>>);

/// A scope with its routes resolved.
#[derive(Clone, Debug)]
pub(super) struct LiveScope {
    pub(super) config: Arc<Scope>,
    pub(super) routes: RouteSlot,
    /// When those were used last, if that matters.
    pub(super) used: Option<Arc<Use>>,
}

/// Scopes and routes as they were.
#[derive(Debug)]
pub struct Kept {
    pub(super) scopes: ScopeTable,
    pub(super) routes: Slots<RouteTable>,
}

/// What a request finds that is in no scope: no route.
pub(super) static NOWHERE: LazyLock<RouteTable> = LazyLock::new(|| RouteTable::empty(&"".into()));

impl ScopeTable {
    pub(super) fn each(&self) -> impl Iterator<Item = &Arc<Scope>> {
        self.0.iter().flat_map(|scopes| scopes.iter()).map(|scope| &scope.config)
    }

    pub(super) fn find(&self, key: &[Cow<'_, str>]) -> Option<&LiveScope> {
        let is_it = |scope: &&LiveScope| {
            scope.config.key.len() == key.len() && scope.config.key.iter().zip(key).all(|(one, other)| **one == **other)
        };
        self.0.get(slot(key))?.iter().find(is_it)
    }

    /// Adds a scope whose key no other has.
    pub(super) fn add(&mut self, scope: LiveScope) {
        self.change(&scope.config.key.clone(), |scopes| scopes.push(scope));
    }

    pub(super) fn remove(&mut self, config: &Scope) {
        self.change(&config.key, |scopes| scopes.retain(|scope| scope.config.name != config.name));
    }

    fn change(&mut self, key: &[Box<str>], change: impl FnOnce(&mut Vec<LiveScope>)) {
        let slot = slot(key);
        let mut scopes = self.0.get(slot).map(|scopes| scopes.to_vec()).unwrap_or_default();
        change(&mut scopes);
        self.0.set(slot, (!scopes.is_empty()).then(|| Arc::new(scopes)));
    }
}

/// The server's keys are hashed, and compared with those of requests: nobody who sends requests can make them collide.
fn slot<S: AsRef<str>>(key: &[S]) -> usize {
    let fragments: Vec<&str> = key.iter().map(AsRef::as_ref).collect();
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(fragments) % SPREAD;
    usize::try_from(hash).unwrap_or_default()
}
