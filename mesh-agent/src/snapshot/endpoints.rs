//! The endpoints of a cluster with all that follows from them for a choice: made once, when they change, and shared by all threads.

use std::sync::Arc;

use crate::model::cluster::{BalancePolicy, Cluster};
use crate::model::endpoint::{Endpoint, Roster, Slots};
use crate::spread::{Rules, alias, maglev, shares};

/// Endpoints of a cluster, as last heard.
#[derive(Debug, PartialEq)]
pub struct EndpointSet {
    /// In the order of the configuration; by name and address where they come from DNS.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// What each of them gets: see [`shares`].
    pub shares: Vec<f64>,
    /// The same in a form to choose by.
    pub turns: Turns,
    /// The same by a hash, if that chooses.
    pub slots: Option<Arc<Slots>>,
    /// Requests of a million that are answered at once, and go nowhere.
    pub drop_per_million: u32,
}

/// How many requests are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drop {
    /// This one, and some others.
    Some,
    /// Every one.
    All,
}

const MILLION: u64 = 1_000_000;

/// Shares as something to choose by, in constant time.
#[derive(Debug, PartialEq, Eq)]
pub enum Turns {
    /// These indexes, each as often as the others.
    Even(Vec<u32>),
    /// By what each place stands for.
    Uneven(Vec<alias::Place>),
}

impl EndpointSet {
    /// The set of these endpoints in a cluster.
    #[must_use]
    pub fn new(assignment: Roster<Endpoint>, cluster: &Cluster) -> Self {
        let endpoints: Vec<_> = assignment.endpoints.into_iter().map(Arc::new).collect();
        // Nobody knows better yet: there are no health checks.
        let health: Vec<_> = endpoints.iter().map(|endpoint| endpoint.health).collect();
        let shares = shares(&endpoints, &health, &Rules::of(cluster, assignment.policy));
        Self::of(endpoints, shares, assignment.policy.drop_per_million, cluster)
    }

    /// These endpoints alone, with the shares they have among all of them.
    #[must_use]
    pub fn only(&self, cluster: &Cluster, keep: impl Fn(&Endpoint) -> bool) -> Self {
        let kept = self.each().filter(|(endpoint, _)| keep(endpoint)).map(|(it, share)| (Arc::clone(it), share));
        let (endpoints, shares) = kept.unzip();
        Self::of(endpoints, shares, self.drop_per_million, cluster)
    }

    fn of(endpoints: Vec<Arc<Endpoint>>, shares: Vec<f64>, drop_per_million: u32, cluster: &Cluster) -> Self {
        let turns = Turns::new(&shares);
        let slots = match cluster.balance {
            BalancePolicy::RoundRobin => None,
            BalancePolicy::Maglev { size, by_hostname } => {
                let names: Vec<_> = endpoints.iter().map(|endpoint| name(endpoint, by_hostname)).collect();
                maglev::table(&names, &shares, size).map(Arc::new)
            }
        };
        Self { endpoints, shares, turns, slots, drop_per_million }
    }

    /// Whether a request is one of those that are dropped; `random` is any number.
    #[must_use]
    pub fn drops(&self, random: u32) -> Option<Drop> {
        let dropped = (u64::from(random) * MILLION) >> 32 < u64::from(self.drop_per_million);
        let kind = if u64::from(self.drop_per_million) >= MILLION { Drop::All } else { Drop::Some };
        dropped.then_some(kind)
    }

    /// Each endpoint with its share.
    pub fn each(&self) -> impl Iterator<Item = (&Arc<Endpoint>, f64)> {
        self.endpoints.iter().zip(self.shares.iter().copied())
    }
}

impl Default for EndpointSet {
    fn default() -> Self {
        Self { endpoints: Vec::new(), shares: Vec::new(), turns: Turns::new(&[]), slots: None, drop_per_million: 0 }
    }
}

/// What an endpoint is known by, so that it has the same slots on every node.
fn name(endpoint: &Endpoint, by_hostname: bool) -> String {
    let hostname = endpoint.hostname.as_ref().filter(|_| by_hostname);
    endpoint.hash_key.as_ref().or(hostname).cloned().unwrap_or_else(|| endpoint.address.to_string())
}

impl Turns {
    /// Turns by these shares.
    #[must_use]
    pub fn new(shares: &[f64]) -> Self {
        let chosen = || (0_u32..).zip(shares).filter(|(_, share)| **share > 0.0);
        let first = chosen().next().map_or(0.0, |(_, share)| *share);
        // Exact: endpoints alike get shares from the same calculation.
        if chosen().all(|(_, share)| *share == first) {
            return Self::Even(chosen().map(|(index, _)| index).collect());
        }
        Self::Uneven(alias::table(shares))
    }
}
