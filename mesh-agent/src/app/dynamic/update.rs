//! From the resources of one update to changes, and from what becomes of those to the reply and to further wishes.
//!
//! What stands in the agent's own file is refused here, and what has no room on this host; what does not fit among the others, the
//! snapshot's builder refuses.

use std::collections::HashSet;
use std::sync::Arc;

use crate::app::live::Live;
use crate::model::config::Config;
use crate::model::management::{ConfigSource, Origin};
use crate::model::resource::{Resource, ResourceKind};
use crate::snapshot::{Applied, Change, Need};
use crate::xds::delivery::{Want, Wish};
use crate::xds::session::{Fault, Name};

/// What a response changes.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) kind: ResourceKind,
    pub(super) changed: Vec<(Name, Resource)>,
    pub(super) removed: Vec<Name>,
    /// What was refused already.
    pub(super) refused: Vec<Name>,
}

/// What became of an update.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Resources of it that cannot go live.
    pub(super) refused: Vec<Fault>,
    /// What is wanted from now on, and what no longer, and of whom.
    pub(super) wishes: Vec<(Origin, Wish)>,
}

/// What a server, or a file of resources, may not change.
#[derive(Debug)]
pub(super) struct Limits {
    /// What stands in the file.
    fixed: HashSet<(ResourceKind, Name)>,
    /// There are no workloads here.
    serves_none: bool,
    /// Routes are asked for when they are needed.
    on_demand: bool,
    /// The server speaks the incremental form.
    incremental: bool,
}

impl Limits {
    pub(super) fn of(config: &Config) -> Self {
        let servers = config.dynamic.iter().flat_map(|it| &it.ads).flat_map(|it| &it.servers);
        let clusters = config.clusters.iter().map(|it| it.name.shared());
        let clusters = clusters.chain(servers.map(|it| it.name.as_str().into()));
        let clusters = clusters.map(|name| (ResourceKind::Cluster, name));
        let listeners = config.listeners.iter().map(|it| it.name.shared());
        let listeners = listeners.chain(config.udp_listeners.iter().map(|it| it.name.shared()));
        let fixed = clusters.chain(listeners.map(|name| (ResourceKind::Listener, name))).collect();
        let incremental = config.dynamic.iter().flat_map(|it| &it.ads).any(|it| it.incremental);
        let on_demand = config.mesh.on_demand.is_some();
        Self { fixed, serves_none: config.mesh.workloads.is_empty(), on_demand, incremental }
    }

    /// Makes an update live.
    pub(super) fn update(&self, update: Update, live: &mut Live) -> Outcome {
        let Update { kind, changed, removed, refused: unreadable } = update;
        let mut refused = Vec::new();
        let mut changes = Vec::with_capacity(changed.len() + removed.len());
        let mut offered = Vec::new();
        for (name, resource) in changed {
            let checked = self.check(kind, &name, &resource);
            if checked.is_ok() && kind == ResourceKind::Cluster && live.has_let_go_of(&name) {
                continue;
            }
            match checked.and_then(|()| live.expect(resource)) {
                Ok(resource) => {
                    changes.push(match resource {
                        Resource::VirtualHost(host) => Change::PutHost(Arc::clone(&name), host),
                        resource => Change::Put(resource),
                    });
                    offered.push(name);
                }
                Err(what) => {
                    let text = format!("{} {name:?}: {what}", kind.noun());
                    changes.push(Change::Refused(Need { kind, name: Arc::clone(&name) }));
                    refused.push(Fault { name: Some(name), text });
                }
            }
        }
        changes.extend(unreadable.into_iter().map(|name| Change::Refused(Need { kind, name })));
        for name in removed {
            live.forget(kind, &name);
            changes.push(Change::Remove(kind, name));
        }
        if kind == ResourceKind::ScopedRoute {
            changes.push(Change::HeardScopes);
        }
        let mut outcome = follow(live.change(changes), &offered);
        if kind == ResourceKind::Listener {
            outcome.refused.iter().filter_map(|fault| fault.name.as_ref()).for_each(|name| live.forget(kind, name));
        }
        outcome.refused.extend(refused);
        for fault in &outcome.refused {
            tracing::warn!(%kind, refused = %fault, "refused; what was live under that name stays");
        }
        outcome
    }

    fn check(&self, kind: ResourceKind, name: &Name, resource: &Resource) -> Result<(), String> {
        if self.fixed.contains(&(kind, Arc::clone(name))) {
            return Err("one of that name stands in the agent's own configuration".to_owned());
        }
        if self.serves_none && matches!(resource, Resource::UdpListener(_)) {
            return Err("a UDP listener serves workloads, and mesh.workloads names none".to_owned());
        }
        if !self.incremental && matches!(resource, Resource::Route(routes) if routes.vhds.is_some()) {
            return Err("vhds needs api_type: DELTA_GRPC".to_owned());
        }
        if !self.on_demand && matches!(resource, Resource::Scope(scope) if scope.on_demand) {
            return Err("on_demand needs mesh.on_demand: true, by which all routes are".to_owned());
        }
        Ok(())
    }
}

/// What became of changes by an update of `offered`. What does not fit and is not of that update can only be told here.
pub(super) fn follow(applied: Applied, offered: &[Name]) -> Outcome {
    let unwanted = applied.unwanted.into_iter().map(|(need, origin)| (origin, Wish::Without(need.kind, need.name)));
    let wanted = applied.wanted.into_iter().map(want).map(|(origin, want)| (origin, Wish::For(want)));
    let mut outcome = Outcome { wishes: unwanted.chain(wanted).collect(), refused: Vec::new() };
    for rejected in applied.rejected {
        let (_, name) = rejected.resource();
        match offered.iter().find(|offered| &***offered == name) {
            Some(name) => outcome.refused.push(Fault { name: Some(Arc::clone(name)), text: rejected.to_string() }),
            None => tracing::warn!(%rejected, "cannot go live"),
        }
    }
    outcome
}

/// What is needed, as a wish to who has it.
pub(super) fn want((need, source): (Need, ConfigSource)) -> (Origin, Want) {
    let ConfigSource { origin, initial_fetch_timeout } = source;
    // All scopes there are: nobody knows their names.
    if need.kind == ResourceKind::ScopedRoute {
        return (origin, Want::All(need.kind));
    }
    (origin, Want::One { kind: need.kind, name: need.name, patience: initial_fetch_timeout })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::demand::tests::{cluster, cold, on_demand};

    #[test]
    fn a_cluster_that_was_let_go_while_it_was_on_its_way_does_not_go_live() {
        let (config, mut live) = on_demand();
        let limits = Limits::of(&config);
        let update = || Update {
            kind: ResourceKind::Cluster,
            changed: vec![("c".into(), Resource::Cluster(cluster()))],
            removed: Vec::new(),
            refused: Vec::new(),
        };
        assert!(limits.update(update(), &mut live).refused.is_empty());
        assert_eq!(live.rollout.current().clusters().count(), 0);
        live.demand(vec![cold(&live)]);
        limits.update(update(), &mut live);
        assert_eq!(live.rollout.current().clusters().count(), 1);
    }
}
