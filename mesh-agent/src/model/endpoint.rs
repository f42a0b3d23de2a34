//! Endpoints: where a cluster's connections and requests can go, and what is known of each
//! (`envoy.config.endpoint.v3.ClusterLoadAssignment`).
//!
//! How much of the load each of them gets follows from this in [`crate::spread`], and nowhere else.

use std::net::SocketAddr;
use std::sync::Arc;

/// The endpoints of a cluster, or the names that stand for some, and what holds for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster<E> {
    /// In the order of the configuration.
    pub endpoints: Vec<E>,
    /// `ClusterLoadAssignment.policy`.
    pub policy: AssignmentPolicy,
}

/// `ClusterLoadAssignment.policy`, as far as it is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssignmentPolicy {
    /// Percent: how much more than its share a priority level or a locality can carry. Envoy's default: 140.
    pub overprovisioning: u32,
    /// A level's health is that of its weights, not of its number of endpoints.
    pub weighted_health: bool,
    /// Requests of a million that are answered 503 at once.
    pub drop_per_million: u32,
}

/// One address of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Share of the load, relative to its siblings; never zero.
    pub weight: u32,
    /// The name the address was resolved from, for `auto_host_rewrite`.
    pub hostname: Option<String>,
    /// What the configuration says about it.
    pub health: Health,
    /// The name under which it takes slots, if not its address (`envoy.lb` metadata, `hash_key`).
    pub hash_key: Option<String>,
    /// Where it stands among the others.
    pub group: Arc<Group>,
}

/// A name that stands for endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsHost {
    /// Name to resolve, or an address as text.
    pub host: String,
    /// Port of every endpoint behind the name.
    pub port: u16,
    /// Weight of each of them.
    pub weight: u32,
    /// Health of each of them.
    pub health: Health,
    /// See [`Endpoint`].
    pub hash_key: Option<String>,
    /// Where they stand.
    pub group: Arc<Group>,
}

/// What endpoints have in common (`LocalityLbEndpoints`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Group {
    /// Where they are.
    pub locality: Locality,
    /// 0 is first; the next takes what that cannot carry.
    pub priority: u32,
    /// The locality's share of its priority level, where the cluster weighs localities. 0: none.
    pub weight: u32,
}

/// A place; each part may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Locality {
    /// The largest part.
    pub region: String,
    /// Within the region.
    pub zone: String,
    /// Within the zone.
    pub sub_zone: String,
}

/// `HealthStatus`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Health {
    /// Nobody said; counts as healthy.
    #[default]
    Unknown,
    /// It answers.
    Healthy,
    /// It does not.
    Unhealthy,
    /// It takes nothing new.
    Draining,
    /// It did not answer in time.
    Timeout,
    /// It answers, but others are better.
    Degraded,
}

/// Who has which slot, where a hash chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Those that have slots, as indexes of the endpoints.
    pub members: Vec<u32>,
    /// Each slot's index among them.
    pub slots: Vec<u32>,
}

/// What a [`Health`] comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// Gets its share.
    Full,
    /// Gets what those with full availability cannot carry.
    Degraded,
    /// Gets nothing, unless so many are like that that health is disregarded.
    None,
    /// The same, but it is leaving on purpose: it is not counted among those that ought to be well.
    Leaving,
}

impl<E> Default for Roster<E> {
    fn default() -> Self {
        Self { endpoints: Vec::new(), policy: AssignmentPolicy::default() }
    }
}

impl Default for AssignmentPolicy {
    fn default() -> Self {
        Self { overprovisioning: 140, weighted_health: false, drop_per_million: 0 }
    }
}

impl Endpoint {
    /// A healthy endpoint in no particular place.
    #[must_use]
    pub fn new(address: SocketAddr, weight: u32) -> Self {
        Self { address, weight, hostname: None, hash_key: None, health: Health::default(), group: Arc::default() }
    }
}

impl Health {
    /// Whether it gets load.
    #[must_use]
    pub fn availability(self) -> Availability {
        match self {
            Self::Unknown | Self::Healthy => Availability::Full,
            Self::Degraded => Availability::Degraded,
            Self::Unhealthy | Self::Timeout => Availability::None,
            Self::Draining => Availability::Leaving,
        }
    }

    /// As Envoy spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Healthy => "HEALTHY",
            Self::Unhealthy => "UNHEALTHY",
            Self::Draining => "DRAINING",
            Self::Timeout => "TIMEOUT",
            Self::Degraded => "DEGRADED",
        }
    }
}
