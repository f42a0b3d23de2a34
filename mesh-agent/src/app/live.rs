//! What is live, and all that a change of the configuration concerns: the snapshot, the names that are looked up for it, the sockets
//! that are open for it, and the kernel.
//!
//! One value, because whoever brings a change (a file, the resolver, a management server) touches all of it. The kernel side joins
//! when the rest is warm.

use std::sync::Arc;

use crate::app::demand::Demands;
use crate::app::sockets::Sockets;
use crate::dns::{Answer, Resolver};
use crate::identity;
use crate::model::name::ClusterName;
use crate::model::resource::{Resource, ResourceKind};
use crate::pod::Mesh;
use crate::proxy::{DataThreads, ThreadError};
use crate::rollout::Rollout;
use crate::snapshot::{Applied, Change, Cold};
use crate::telemetry::Telemetry;

/// See the module.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) rollout: Rollout,
    pub(super) resolver: Resolver,
    pub(super) sockets: Sockets,
    pub(super) mesh: Option<Mesh>,
    pub(super) demands: Option<Demands>,
}

impl Live {
    /// Makes changes live.
    pub(super) fn change(&mut self, changes: Vec<Change>) -> Applied {
        let applied = self.rollout.change(changes, &mut self.mesh);
        if let Some(demands) = &mut self.demands {
            demands.settle(self.rollout.current());
        }
        applied
    }

    /// Somebody waits for what is cold.
    pub(super) fn demand(&mut self, asked: Vec<Cold>) -> Applied {
        let demands = self.demands.as_mut();
        let changes = demands.map(|demands| demands.wait(asked, &self.rollout)).unwrap_or_default();
        self.change(changes)
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, telemetry: &Telemetry) -> Applied {
        let Some(demands) = &mut self.demands else { return Applied::default() };
        let changes = demands.tick(&self.rollout, telemetry);
        for change in &changes {
            if let Change::Rest(need) = change {
                self.forget(need.kind, &need.name);
            }
        }
        self.change(changes)
    }

    /// What data threads wait for next.
    pub(super) async fn asked(demands: &mut Option<Demands>) -> Vec<Cold> {
        match demands {
            Some(demands) => demands.next().await,
            None => std::future::pending().await,
        }
    }

    /// Makes live what names stand for.
    pub(super) fn resolved(&mut self, (cluster, endpoints): Answer) -> Applied {
        let endpoints = match endpoints {
            Some(endpoints) => endpoints,
            // Whoever waits for it is told that there is nobody, until there is.
            None if self.rollout.builder().waits_for_names(&cluster) => Arc::default(),
            None => return Applied::default(),
        };
        tracing::debug!(%cluster, endpoints = endpoints.endpoints.len(), "resolved");
        self.change(vec![Change::Resolved(cluster, endpoints)])
    }

    /// Has the data threads accept for the listeners that are live.
    pub(super) async fn settle(&mut self, threads: &DataThreads) -> Result<(), ThreadError> {
        self.sockets.settle(self.rollout.current(), threads).await
    }

    /// Whether a cluster that comes on demand is not wanted (any longer). One that was on its way when it was let go must not go live:
    /// nobody would let it go again, nor hear of its changes.
    pub(super) fn has_let_go_of(&self, cluster: &Arc<str>) -> bool {
        self.rollout.builder().is_on_demand()
            && !self.rollout.builder().is_demanded(&ClusterName::from(Arc::clone(cluster)))
    }

    /// Gets ready for a resource that is about to go live: what it names on this host is read, its names are looked up, its sockets
    /// opened. Why it can't, if so.
    pub(super) fn expect(&mut self, resource: Resource) -> Result<Resource, String> {
        match &resource {
            Resource::Listener(listener) => self.sockets.reserve(listener).map_err(|error| error.to_string())?,
            Resource::Cluster(cluster) => {
                let cluster = identity::settle_cluster(cluster).map_err(|error| error.to_string())?;
                self.resolver.follow(&cluster);
                return Ok(Resource::Cluster(cluster));
            }
            Resource::Secret(secret) => {
                return identity::settle_secret(secret).map(Resource::Secret).map_err(|error| error.to_string());
            }
            _ => {}
        }
        Ok(resource)
    }

    /// One that was expected does not come, or one that is live goes.
    pub(super) fn forget(&mut self, kind: ResourceKind, name: &Arc<str>) {
        match kind {
            ResourceKind::Cluster => self.resolver.forget(&(&**name).into()),
            ResourceKind::Listener => self.sockets.release(&(&**name).into()),
            _ => {}
        }
    }
}
