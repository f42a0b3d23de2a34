//! What the kernel can do without the agent's hands: which services it sends to an endpoint by itself, and which ports of a
//! workload it need not bring to the agent.
//!
//! Plain data, derived from a snapshot by [`crate::tier`]; the kernel side implements [`Shortcuts`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::model::name::ListenerName;

/// What the kernel does by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByKernel {
    /// Services it sends to an endpoint.
    pub services: Services,
    /// What it must bring to the agent; the rest of what comes in passes.
    pub inbound: Claims,
}

/// What comes in to workloads that the agent has something to do with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Everything: a listener takes what no other does.
    pub all: bool,
    /// Ports of an address, or of any.
    pub ports: BTreeSet<(Option<IpAddr>, u16)>,
}

/// The same for one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// Whatever comes in.
    All,
    /// What comes in at these ports.
    Ports(BTreeSet<u16>),
}

/// What is spoken to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// All services that need no agent, by what a workload connects to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services(pub BTreeMap<(Protocol, SocketAddr), Arc<Service>>);

/// A service that needs no agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// The listener that says so.
    pub listener: ListenerName,
    /// Its endpoints, each with its share of all; those of a share that has none are `None`. Empty: it has none at all.
    pub shares: Vec<(Option<SocketAddr>, f64)>,
}

// No share is ever NaN: each is a quotient of positive integers.
impl Eq for Service {}

impl Claims {
    /// Those that concern a workload with these addresses. One whose addresses nobody wrote down may have any.
    #[must_use]
    pub fn of(&self, addresses: &[IpAddr]) -> Claimed {
        if self.all {
            return Claimed::All;
        }
        let concerns = |ip: &Option<IpAddr>| ip.is_none_or(|ip| addresses.is_empty() || addresses.contains(&ip));
        Claimed::Ports(self.ports.iter().filter(|(ip, _)| concerns(ip)).map(|(_, port)| *port).collect())
    }
}

impl Claimed {
    /// What is claimed by both.
    #[must_use]
    pub fn both(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, both) | (both, Self::All) => both.clone(),
            (Self::Ports(one), Self::Ports(other)) => Self::Ports(one & other),
        }
    }
}

/// Who does more or less by itself than before. Called by the rollout alone, in its order.
pub trait Shortcuts {
    /// Forgets what is not in `next`. Until it learns the rest, what it has stays as it is.
    fn forget(&mut self, next: &ByKernel);

    /// Learns all of `next`.
    fn learn(&mut self, next: &ByKernel);
}

/// Without a kernel side there is nobody to tell.
impl<S: Shortcuts> Shortcuts for Option<S> {
    fn forget(&mut self, next: &ByKernel) {
        if let Some(kernel) = self {
            kernel.forget(next);
        }
    }

    fn learn(&mut self, next: &ByKernel) {
        if let Some(kernel) = self {
            kernel.learn(next);
        }
    }
}

impl<S: Shortcuts + ?Sized> Shortcuts for &mut S {
    fn forget(&mut self, next: &ByKernel) {
        (**self).forget(next);
    }

    fn learn(&mut self, next: &ByKernel) {
        (**self).learn(next);
    }
}
