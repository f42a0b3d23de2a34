//! What the kernel can do without the agent's hands: which services it sends to an endpoint by itself, and which ports of a
//! workload it need not bring to the agent.
//!
//! Plain data, derived from a snapshot by [`crate::tier`]; the kernel side implements [`Shortcuts`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::name::ListenerName;

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

/// Who takes other services than before. Called by the rollout alone, in its order.
pub trait Shortcuts {
    /// Forgets what is not in `next`. Until it learns the rest, what it has stays as it is.
    fn forget(&mut self, next: &Services);

    /// Learns all of `next`.
    fn learn(&mut self, next: &Services);
}

/// Without a kernel side there is nobody to tell.
impl<S: Shortcuts> Shortcuts for Option<S> {
    fn forget(&mut self, next: &Services) {
        if let Some(kernel) = self {
            kernel.forget(next);
        }
    }

    fn learn(&mut self, next: &Services) {
        if let Some(kernel) = self {
            kernel.learn(next);
        }
    }
}

impl<S: Shortcuts + ?Sized> Shortcuts for &mut S {
    fn forget(&mut self, next: &Services) {
        (**self).forget(next);
    }

    fn learn(&mut self, next: &Services) {
        (**self).learn(next);
    }
}
