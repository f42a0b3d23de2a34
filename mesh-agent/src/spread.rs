//! How much of a cluster's load each of its endpoints gets: one pure function of endpoints, health and rules.
//!
//! Whoever chooses an endpoint, the agent's balancers or the kernel's tables, chooses by these shares, so the two cannot disagree.
//! Health is passed in beside the endpoints, for it may be known better than the configuration says.
//!
//! The rules are Envoy's, step by step as its documentation of load balancing has them under "Priority levels", "Degraded
//! endpoints", "Panic threshold" and "Locality weighted load balancing", with its whole percents: priority levels share the load
//! ([`level`]); within a level localities share it, if they have weights; within a locality endpoints do, by theirs. What that text
//! does not say, Envoy does: endpoints that drain count as if they were not there, until nothing but panic is left.

pub mod alias;
mod level;
pub mod maglev;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::cluster::Cluster;
use crate::model::endpoint::{AssignmentPolicy, Availability, Endpoint, Health, Locality};
use crate::spread::level::{Load, loads};

/// What a cluster says about spreading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Of the endpoints.
    pub policy: AssignmentPolicy,
    /// See [`Cluster`].
    pub panic_threshold: u32,
    /// See [`Cluster`].
    pub weighs_localities: bool,
}

impl Rules {
    /// Those of a cluster whose endpoints came with this policy.
    #[must_use]
    pub fn of(cluster: &Cluster, policy: AssignmentPolicy) -> Self {
        Self { policy, panic_threshold: cluster.panic_threshold, weighs_localities: cluster.weighs_localities }
    }
}

/// The share of each endpoint. They sum to one, or are all zero: then there is nowhere to go. `health` is that of the endpoint
/// with the same index.
#[must_use]
pub fn shares(endpoints: &[Arc<Endpoint>], health: &[Health], rules: &Rules) -> Vec<f64> {
    let mut levels: BTreeMap<u32, Level<'_>> = BTreeMap::new();
    for (index, (endpoint, health)) in endpoints.iter().zip(health).enumerate() {
        let level = levels.entry(endpoint.group.priority).or_default();
        level.add(Member { index, endpoint, availability: health.availability() });
    }
    let levels: Vec<_> = levels.into_values().collect();
    let counts: Vec<_> = levels.iter().map(|level| level.counts).collect();
    let mut shares = vec![0.0; endpoints.len()];
    for (level, load) in levels.iter().zip(loads(&counts, rules)) {
        match load {
            // Whoever is in panic asks neither for health nor for localities.
            Load::Panic(load) => by_weight(&level.members, f64::from(load) / 100.0, &mut shares),
            Load::Calm { full, degraded } => {
                level.divide(Availability::Full, full, rules, &mut shares);
                level.divide(Availability::Degraded, degraded, rules, &mut shares);
            }
        }
    }
    shares
}

/// The endpoints of one priority.
#[derive(Default)]
struct Level<'a> {
    members: Vec<Member<'a>>,
    counts: level::Counts,
    /// What the configuration gives each locality; the last that says something is right.
    localities: BTreeMap<&'a Locality, u32>,
}

#[derive(Clone, Copy)]
struct Member<'a> {
    index: usize,
    endpoint: &'a Endpoint,
    availability: Availability,
}

impl<'a> Level<'a> {
    fn add(&mut self, member: Member<'a>) {
        let group = &member.endpoint.group;
        let weight = self.localities.entry(&group.locality).or_default();
        if group.weight > 0 {
            *weight = group.weight;
        }
        self.counts.add(member.availability, member.endpoint.weight);
        self.members.push(member);
    }

    /// Gives `percent` of the load to those of this availability.
    fn divide(&self, of: Availability, percent: u32, rules: &Rules, shares: &mut [f64]) {
        let load = f64::from(percent) / 100.0;
        let chosen: Vec<_> = self.members.iter().copied().filter(|member| member.availability == of).collect();
        let parts = if rules.weighs_localities { self.parts(of, rules) } else { BTreeMap::new() };
        let total: f64 = parts.values().sum();
        if total <= 0.0 {
            return by_weight(&chosen, load, shares);
        }
        let mut there: BTreeMap<&Locality, Vec<Member<'_>>> = BTreeMap::new();
        for member in chosen {
            there.entry(&member.endpoint.group.locality).or_default().push(member);
        }
        for (locality, members) in there {
            by_weight(&members, load * parts[locality] / total, shares);
        }
    }

    /// The weights of localities, less where too few of the endpoints are available.
    fn parts(&self, of: Availability, rules: &Rules) -> BTreeMap<&'a Locality, f64> {
        let mut counts: BTreeMap<&Locality, (u32, u32)> = BTreeMap::new();
        for member in &self.members {
            let (all, available) = counts.entry(&member.endpoint.group.locality).or_default();
            *all += u32::from(member.availability != Availability::Leaving);
            *available += u32::from(member.availability == of);
        }
        let part = |(locality, weight): (&&'a Locality, &u32)| {
            let (all, available) = counts[*locality];
            let ratio = f64::from(available) / f64::from(all.max(1)) * f64::from(rules.policy.overprovisioning) / 100.0;
            (*locality, f64::from(*weight) * ratio.min(1.0))
        };
        self.localities.iter().map(part).collect()
    }
}

/// Gives `load` to these, by their weights.
fn by_weight(members: &[Member<'_>], load: f64, shares: &mut [f64]) {
    let total: u64 = members.iter().map(|member| u64::from(member.endpoint.weight)).sum();
    for member in members {
        shares[member.index] += load * f64::from(member.endpoint.weight) / total as f64;
    }
}
