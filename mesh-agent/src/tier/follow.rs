//! What the kernel does by itself, from snapshot to snapshot: an endpoint that changes costs the services it is an endpoint of.
//!
//! Only the simple case is taken apart: services go on being services, with other endpoints. Wherever a change may mean more (a
//! listener, a policy, a service that needs the agent from now on) everything is derived anew, which is never wrong.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::flow::Direction;
use crate::model::service::{ByKernel, Protocol, Service};
use crate::snapshot::{ClusterSlot, LiveListener, LiveUdp, Snapshot};
use crate::tier::{by_kernel, bytes_only, only_chain, service, udp_service};

/// What the kernel does by itself now, and which clusters that depends on.
#[derive(Debug, Default)]
pub struct Follower {
    now: ByKernel,
    users: HashMap<ClusterSlot, Vec<User>>,
}

/// What a snapshot changes for the kernel.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// The endpoints of these services, to which no policy applies.
    Services(Vec<(Protocol, SocketAddr)>),
    /// Perhaps everything.
    All,
}

/// A listener whose service depends on a cluster.
#[derive(Clone, Debug)]
enum User {
    Tcp(Arc<LiveListener>),
    Udp(LiveUdp),
}

impl Follower {
    /// What the kernel does by itself under the last snapshot.
    #[must_use]
    pub fn now(&self) -> &ByKernel {
        &self.now
    }

    /// The next snapshot, in which only these clusters are others than in the last; if `None`, listeners are too.
    pub fn follow(&mut self, snapshot: &Snapshot, clusters: Option<&[ClusterSlot]>) -> Step {
        let Some(clusters) = clusters else { return self.start_over(snapshot) };
        let mut changed = Vec::new();
        for user in clusters.iter().filter_map(|slot| self.users.get(slot)).flatten() {
            let key = user.key();
            if user.is_more_than_a_service() || self.now.rules.contains_key(&key.1) {
                return self.start_over(snapshot);
            }
            match (self.now.services.0.get(&key), user.service(snapshot)) {
                (None, None) => {}
                (Some(before), Some(after)) => {
                    if **before != after {
                        changed.push((key, Arc::new(after)));
                    }
                }
                _ => return self.start_over(snapshot),
            }
        }
        if changed.is_empty() {
            return Step::Nothing;
        }
        let keys = changed.iter().map(|(key, _)| *key).collect();
        self.now.services.0.extend(changed);
        Step::Services(keys)
    }

    fn start_over(&mut self, snapshot: &Snapshot) -> Step {
        self.users.clear();
        for live in snapshot.listeners() {
            let tcp = only_chain(live).and_then(bytes_only);
            for (slot, _) in tcp.iter().flat_map(|tcp| tcp.clusters.each()) {
                self.users.entry(slot).or_default().push(User::Tcp(Arc::clone(live)));
            }
        }
        for live in snapshot.udp_listeners() {
            self.users.entry(live.cluster).or_default().push(User::Udp(live.clone()));
        }
        let next = by_kernel(snapshot);
        if next == self.now {
            return Step::Nothing;
        }
        self.now = next;
        Step::All
    }
}

impl User {
    fn key(&self) -> (Protocol, SocketAddr) {
        match self {
            Self::Tcp(live) => (Protocol::Tcp, live.config.address),
            Self::Udp(live) => (Protocol::Udp, live.config.address),
        }
    }

    fn is_more_than_a_service(&self) -> bool {
        matches!(self, Self::Tcp(live) if live.config.direction == Direction::Inbound)
    }

    fn service(&self, snapshot: &Snapshot) -> Option<Service> {
        match self {
            Self::Tcp(live) => service(snapshot, live),
            Self::Udp(live) => Some(udp_service(snapshot, live)),
        }
    }
}
