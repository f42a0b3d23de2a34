//! Which endpoint of a cluster gets the next connection or request.
//!
//! Each data thread balances on its own: state is kept per cluster slot, without locks, and starts over when the cluster's
//! endpoints change. What each endpoint gets is decided elsewhere ([`crate::spread`]). Picking reads no clock, does no I/O, and takes
//! the same time however many endpoints there are.

mod round_robin;

use std::net::IpAddr;
use std::sync::Arc;

use crate::balance::round_robin::RoundRobin;
use crate::model::endpoint::Endpoint;
use crate::snapshot::{EndpointSet, LiveCluster};
use crate::spread::maglev;

/// One thread's balancers, by cluster slot.
#[derive(Debug, Default)]
pub struct Balancers {
    by_slot: Vec<Option<Balancer>>,
}

impl Balancers {
    /// The endpoint whose turn it is. `None` if there is none to go to. `random` decides where a new balancer begins, so that
    /// threads and restarts don't all begin with the first endpoint. `client` is who asks, where that is to decide: the same client
    /// comes to the same endpoint if the cluster chooses by hash.
    pub fn pick(&mut self, cluster: &LiveCluster, client: Option<IpAddr>, random: u32) -> Option<Arc<Endpoint>> {
        if let Some(slots) = &cluster.endpoints.slots {
            let index = maglev::find(slots, client.map_or(random, maglev::of_client))?;
            return cluster.endpoints.endpoints.get(index as usize).cloned();
        }
        let index = cluster.slot.index();
        if self.by_slot.len() <= index {
            self.by_slot.resize_with(index + 1, || None);
        }
        let slot = &mut self.by_slot[index];
        let balancer = match slot {
            Some(balancer) if Arc::ptr_eq(&balancer.endpoints, &cluster.endpoints) => balancer,
            _ => slot.insert(Balancer::new(cluster, random)),
        };
        balancer.pick()
    }
}

#[derive(Debug)]
struct Balancer {
    endpoints: Arc<EndpointSet>,
    turn: RoundRobin,
}

impl Balancer {
    fn new(cluster: &LiveCluster, random: u32) -> Self {
        let endpoints = Arc::clone(&cluster.endpoints);
        Self { turn: RoundRobin::new(&endpoints.turns, random), endpoints }
    }

    fn pick(&mut self) -> Option<Arc<Endpoint>> {
        let index = self.turn.pick(&self.endpoints.turns)?;
        self.endpoints.endpoints.get(index as usize).cloned()
    }
}
