//! Clusters and their endpoints. What of a cluster's TLS comes by itself is [`super::secret`]. New endpoints replace one entry of one table.

use std::sync::Arc;

use crate::identity::Client;
use crate::model::cluster::{Assignment, Cluster, Discovery, Eds};
use crate::model::management::ConfigSource;
use crate::model::name::ClusterName;
use crate::model::resource::ResourceKind;
use crate::snapshot::build::waiting::Waiter;
use crate::snapshot::build::{Builder, Need, Round};
use crate::snapshot::{EndpointSet, LiveCluster, Rejected};

/// Endpoints that some cluster asks for by name.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) source: ConfigSource,
    /// As last heard.
    assignment: Option<Arc<Assignment>>,
    /// Clusters, live or warming, that use it; one may stand here twice.
    users: Vec<ClusterName>,
}

impl Builder {
    pub(super) fn put_cluster(&mut self, cluster: Arc<Cluster>, round: &mut Round) {
        let name = cluster.name.clone();
        // Clusters stand in the order in which they came, live or not.
        self.cluster_slot(&name);
        let live = self.live_cluster(&name).map(|live| Arc::clone(&live.config));
        let newest = self.warming.get(&name).or(live.as_ref());
        // A control plane says everything again when it says anything.
        if newest.is_some_and(|newest| **newest == *cluster) {
            return;
        }
        if let Some(secret) = self.secret_elsewhere(&cluster) {
            return round.rejected.push(Rejected::SecretElsewhere { cluster: name, secret });
        }
        if let Some((secret, what)) = self.unfit_secret(&cluster) {
            return round.rejected.push(Rejected::SecretUse { cluster: name, secret, what });
        }
        if let Some(eds) = eds(&cluster) {
            if self.is_elsewhere(eds, &name) {
                let endpoints = Arc::clone(&eds.service);
                return round.rejected.push(Rejected::EndpointsElsewhere { cluster: name, endpoints });
            }
            self.use_service(eds, &name, round);
        }
        self.use_secrets(&cluster, round);
        if let Some(superseded) = self.warming.insert(name.clone(), cluster) {
            self.leave_what_it_asked_for(&superseded, round);
        }
        self.settle_guess(&name, round);
        self.waiting.release(&Waiter::Cluster(name.clone()));
        self.try_cluster(&name, round);
    }

    /// Makes a warming cluster live if it has endpoints and secrets.
    pub(super) fn try_cluster(&mut self, name: &ClusterName, round: &mut Round) {
        let Some(config) = self.warming.get(name) else { return };
        let endpoints = match &config.discovery {
            Discovery::Static(roster) => Arc::new(EndpointSet::new(roster.clone(), config)),
            Discovery::StrictDns { .. } => match self.resolved.get(name) {
                Some(endpoints) => Arc::clone(endpoints),
                // Somebody waits for it, and would find nobody there.
                None if self.is_demanded(name) => return,
                None => Arc::default(),
            },
            Discovery::Eds(Eds { service, .. }) => {
                let need = Need { kind: ResourceKind::Endpoints, name: Arc::clone(service) };
                match self.services.get(service).and_then(|service| service.assignment.as_ref()) {
                    Some(assignment) => Arc::new(EndpointSet::new(assignment.roster.clone(), config)),
                    None if self.waiting.has_given_up(&need) => Arc::default(),
                    None => return self.waiting.hold(Waiter::Cluster(name.clone()), need),
                }
            }
        };
        if let Some(need) = self.missing_secret(config) {
            return self.waiting.hold(Waiter::Cluster(name.clone()), need);
        }
        let Some(config) = self.warming.remove(name) else { return };
        let before = self.live_cluster(name).map(|live| Arc::clone(&live.config));
        let tls = self.kept_client(&config);
        self.set_live(config, endpoints, tls, round);
        match before {
            Some(before) => self.leave_what_it_asked_for(&before, round),
            None => {
                let need = Need { kind: ResourceKind::Cluster, name: name.shared() };
                round.ready.extend(self.waiting.arrived(&need));
            }
        }
    }

    pub(super) fn put_endpoints(&mut self, assignment: &Arc<Assignment>, round: &mut Round) {
        // What no cluster asked for would never be used; it is sent again to who asks.
        let Some(service) = self.services.get_mut(&assignment.name) else { return };
        if service.assignment.as_ref().is_some_and(|before| before == assignment) {
            return;
        }
        service.assignment = Some(Arc::clone(assignment));
        let mut users = service.users.clone();
        users.dedup();
        for user in users {
            let Some(live) = self.live_cluster(&user) else { continue };
            if eds(&live.config).is_some_and(|eds| eds.service == assignment.name) {
                let (config, tls) = (Arc::clone(&live.config), live.tls.clone());
                let endpoints = EndpointSet::new(assignment.roster.clone(), &config);
                self.set_live(config, Arc::new(endpoints), tls, round);
            }
        }
        let need = Need { kind: ResourceKind::Endpoints, name: Arc::clone(&assignment.name) };
        round.ready.extend(self.waiting.arrived(&need));
    }

    pub(super) fn put_resolved(&mut self, name: &ClusterName, endpoints: Arc<EndpointSet>, round: &mut Round) {
        if self.waits_for_names(name) {
            self.resolved.insert(name.clone(), endpoints);
            return self.try_cluster(name, round);
        }
        let Some(live) = self.live_cluster(name) else { return };
        if matches!(live.config.discovery, Discovery::StrictDns { .. }) {
            let (config, tls) = (Arc::clone(&live.config), live.tls.clone());
            self.resolved.insert(name.clone(), Arc::clone(&endpoints));
            self.set_live(config, endpoints, tls, round);
        }
    }

    pub(super) fn remove_cluster(&mut self, name: &ClusterName, round: &mut Round) {
        self.waiting.release(&Waiter::Cluster(name.clone()));
        self.resolved.remove(name);
        if let Some(config) = self.warming.remove(name) {
            self.leave_what_it_asked_for(&config, round);
        }
        if let Some(config) = self.live_cluster(name).map(|live| Arc::clone(&live.config)) {
            let slot = self.cluster_slot(name);
            self.clusters.set(slot.index(), None);
            round.clusters.push(slot);
            round.is_changed = true;
            self.leave_what_it_asked_for(&config, round);
        }
    }

    /// Whether a cluster is not live because its names have not been looked up.
    #[must_use]
    pub fn waits_for_names(&self, name: &ClusterName) -> bool {
        self.warming.get(name).is_some_and(|config| matches!(config.discovery, Discovery::StrictDns { .. }))
    }

    /// Whether these are endpoints that were asked for and have not come.
    pub(super) fn lacks_endpoints(&self, need: &Need) -> bool {
        let is_empty = |service: &Service| service.assignment.is_none();
        need.kind == ResourceKind::Endpoints && self.services.get(&need.name).is_some_and(is_empty)
    }

    pub(super) fn live_cluster(&self, name: &ClusterName) -> Option<&Arc<LiveCluster>> {
        self.clusters.get(self.cluster_slots.get(name)?.index())
    }

    pub(super) fn set_live(
        &mut self,
        config: Arc<Cluster>,
        endpoints: Arc<EndpointSet>,
        tls: Option<Arc<Client>>,
        round: &mut Round,
    ) {
        let slot = self.cluster_slot(&config.name);
        let used = self.demand.as_ref().and_then(|demand| demand.used(&config.name));
        self.clusters.set(slot.index(), Some(Arc::new(LiveCluster { slot, config, endpoints, tls, used })));
        round.clusters.push(slot);
        round.is_changed = true;
    }

    pub(super) fn use_service(&mut self, eds: &Eds, user: &ClusterName, round: &mut Round) {
        let need = Need { kind: ResourceKind::Endpoints, name: Arc::clone(&eds.service) };
        let before = self.services.get(&eds.service).map(|service| service.source.origin.clone());
        round.touched.entry(need).or_insert(before);
        let service = self.services.entry(Arc::clone(&eds.service));
        let new = || Service { source: eds.source.clone(), assignment: None, users: Vec::new() };
        let service = service.or_insert_with(new);
        service.users.push(user.clone());
        // What has come from elsewhere serves until the new source has something.
        service.source = eds.source.clone();
    }

    /// Whether another cluster has endpoints of that name from another source. There is one of each name here.
    fn is_elsewhere(&self, eds: &Eds, cluster: &ClusterName) -> bool {
        self.services.get(&eds.service).is_some_and(|service| {
            service.source.origin != eds.source.origin && service.users.iter().any(|user| user != cluster)
        })
    }

    /// `cluster` is used no longer; nor are its endpoints and secrets, if it was the last that asked for them.
    fn leave_what_it_asked_for(&mut self, cluster: &Cluster, round: &mut Round) {
        self.leave_secrets(cluster, round);
        if let Some(Eds { service, .. }) = eds(cluster) {
            self.leave_endpoints(service, &cluster.name, round);
        }
    }

    pub(super) fn leave_endpoints(&mut self, name: &Arc<str>, user: &ClusterName, round: &mut Round) {
        let Some(service) = self.services.get_mut(name) else { return };
        if let Some(index) = service.users.iter().position(|other| other == user) {
            service.users.remove(index);
        }
        if service.users.is_empty() {
            let need = Need { kind: ResourceKind::Endpoints, name: Arc::clone(name) };
            let before = self.services.remove(name).map(|service| service.source.origin);
            self.waiting.forget(&need);
            round.touched.entry(need).or_insert(before);
        }
    }
}

fn eds(cluster: &Cluster) -> Option<&Eds> {
    match &cluster.discovery {
        Discovery::Eds(eds) => Some(eds),
        Discovery::Static(_) | Discovery::StrictDns { .. } => None,
    }
}
