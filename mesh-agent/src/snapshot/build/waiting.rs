//! Who waits for what. Each waits for one thing at a time; whoever has several missing is tried again, and then waits for the next.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::model::name::{ClusterName, ListenerName, RouteConfigName};
use crate::model::resource::ResourceKind;
use crate::snapshot::Need;

/// Somebody who waits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Waiter {
    Cluster(ClusterName),
    Listener(ListenerName),
    Route(RouteConfigName),
    Scope(Arc<str>),
    Host(Arc<str>),
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    by_waiter: BTreeMap<Waiter, Need>,
    by_need: HashMap<Need, Vec<Waiter>>,
    given_up: HashSet<Need>,
}

impl Waiting {
    /// `waiter` cannot go on without `need`.
    pub(super) fn hold(&mut self, waiter: Waiter, need: Need) {
        self.release(&waiter);
        self.by_need.entry(need.clone()).or_default().push(waiter.clone());
        self.by_waiter.insert(waiter, need);
    }

    /// `waiter` does not wait any longer.
    pub(super) fn release(&mut self, waiter: &Waiter) {
        let Some(need) = self.by_waiter.remove(waiter) else { return };
        if let Some(waiters) = self.by_need.get_mut(&need) {
            waiters.retain(|other| other != waiter);
            if waiters.is_empty() {
                self.by_need.remove(&need);
            }
        }
    }

    /// `need` is there: who waited for it can try again.
    pub(super) fn arrived(&mut self, need: &Need) -> Vec<Waiter> {
        self.given_up.remove(need);
        self.wake(need)
    }

    /// `need` is not waited for, until it comes. Nothing happens if nobody waits for it.
    pub(super) fn give_up(&mut self, need: Need) -> Vec<Waiter> {
        let waiters = self.wake(&need);
        if !waiters.is_empty() {
            self.given_up.insert(need);
        }
        waiters
    }

    /// Whoever waits for `need` is to look again whether it has to.
    pub(super) fn retry(&mut self, need: &Need) -> Vec<Waiter> {
        self.wake(need)
    }

    /// Whoever will need it need not wait, until it comes.
    pub(super) fn do_without(&mut self, need: Need) {
        self.given_up.insert(need);
    }

    /// Nobody asks for `need` now: should somebody again, it is waited for again.
    pub(super) fn forget(&mut self, need: &Need) {
        self.given_up.remove(need);
    }

    pub(super) fn has_given_up(&self, need: &Need) -> bool {
        self.given_up.contains(need)
    }

    pub(super) fn each(&self) -> impl Iterator<Item = (ResourceKind, &str, &Need)> {
        self.by_waiter.iter().map(|(waiter, need)| match waiter {
            Waiter::Cluster(name) => (ResourceKind::Cluster, name.as_str(), need),
            Waiter::Listener(name) => (ResourceKind::Listener, name.as_str(), need),
            Waiter::Route(name) => (ResourceKind::Route, name.as_str(), need),
            Waiter::Host(name) => (ResourceKind::VirtualHost, &**name, need),
            Waiter::Scope(name) => (ResourceKind::ScopedRoute, &**name, need),
        })
    }

    fn wake(&mut self, need: &Need) -> Vec<Waiter> {
        let waiters = self.by_need.remove(need).unwrap_or_default();
        for waiter in &waiters {
            self.by_waiter.remove(waiter);
        }
        waiters
    }
}
