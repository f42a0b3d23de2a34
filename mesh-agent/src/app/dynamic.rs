//! What comes from a management server goes live here: its deliveries become changes for the rollout, and what becomes of those
//! becomes the reply.
//!
//! This is also where time is: what is waited for by name is given up when the server has not sent it in time, and a cluster that
//! something refers to when it is not among those that came.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::app::sockets::Sockets;
use crate::dns::Resolver;
use crate::model::config::Config;
use crate::model::management::{ConfigSource, Standing};
use crate::model::resource::{Resource, ResourceKind};
use crate::model::service::Shortcuts;
use crate::protobuf;
use crate::rollout::Rollout;
use crate::snapshot::{Applied, Change, Need};
use crate::xds::client::Client;
use crate::xds::delivery::{Delivery, News, Reply, Want};
use crate::xds::identity;
use crate::xds::session::{Fault, Missing, Name, Why};

/// How long a cluster may be missing that a listener or a route needs, before that goes live without it. The server has sent
/// clusters before, if it goes by the protocol; those that come later are used when they come.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(15);

/// How long after a change it is looked at who waits for clusters.
const LOOK: Duration = Duration::from_millis(100);

/// Brings what a management server sends.
#[derive(Debug)]
pub(super) struct Dynamic {
    client: Client<Resource>,
    /// What stands in the file, which no server may change.
    fixed: HashSet<(ResourceKind, Name)>,
    /// There are no workloads here.
    serves_none: bool,
    /// Kinds that no response has come for, and until when the start waits for one.
    awaited: BTreeMap<ResourceKind, Option<Instant>>,
    /// Clusters that something waits for, and until when.
    missing: HashMap<Need, Instant>,
    /// When that is looked at again: thousands of endpoints come one by one, and each could let somebody wait for the next cluster.
    look: Option<Instant>,
    /// What followed from the passing of time: told with the next reply.
    owed: Reply,
}

/// Something to be made live.
#[derive(Debug)]
pub(super) enum Event {
    Delivery(Delivery<Resource>),
    /// Time has passed.
    Late,
}

impl Dynamic {
    /// Starts the client, if the configuration has something to be asked for. `wanted` is what the file's own resources need.
    pub(super) fn start(config: &Config, wanted: Vec<(Need, ConfigSource)>) -> io::Result<Option<Self>> {
        let Some(dynamic) = &config.dynamic else { return Ok(None) };
        let Some(ads) = &dynamic.ads else { return Ok(None) };
        let all = [(ResourceKind::Cluster, &dynamic.clusters), (ResourceKind::Listener, &dynamic.listeners)];
        let now = Instant::now();
        let mut wants = Vec::new();
        let mut awaited = BTreeMap::new();
        for (kind, source) in all {
            if let Some(ConfigSource { initial_fetch_timeout }) = source {
                wants.push(Want::All(kind));
                awaited.insert(kind, initial_fetch_timeout.map(|timeout| now + timeout));
            }
        }
        wants.extend(wanted.into_iter().map(want));
        let clusters = config.clusters.iter().map(|it| (ResourceKind::Cluster, it.name.shared()));
        let listeners = config.listeners.iter().map(|it| it.name.shared());
        let listeners = listeners.chain(config.udp_listeners.iter().map(|it| it.name.shared()));
        let fixed = clusters.chain(listeners.map(|name| (ResourceKind::Listener, name))).collect();
        let decode = |kind, bytes: &[u8]| protobuf::resource(kind, bytes).map_err(|refusal| refusal.to_string());
        let client = Client::start(ads.clone(), identity::encode(&config.node), &wants, decode)?;
        let serves_none = config.mesh.workloads.is_empty();
        Ok(Some(Self {
            client,
            fixed,
            serves_none,
            awaited,
            missing: HashMap::new(),
            look: None,
            owed: Reply::default(),
        }))
    }

    /// Whether the start is still to wait: for a first response, or for what has come and is not live yet.
    pub(super) fn is_warming(&self, rollout: &Rollout) -> bool {
        !self.awaited.is_empty() || rollout.builder().waiting().next().is_some()
    }

    /// What happens next.
    pub(super) async fn next(&mut self) -> Event {
        let late =
            self.missing.values().copied().chain(self.awaited.values().copied().flatten()).chain(self.look).min();
        tokio::select! {
            delivery = self.client.next() => Event::Delivery(delivery),
            () = tokio::time::sleep_until(late.unwrap_or_else(Instant::now)), if late.is_some() => Event::Late,
        }
    }

    /// Makes live what can be, and replies.
    pub(super) fn take(
        &mut self,
        event: Event,
        rollout: &mut Rollout,
        resolver: &mut Resolver,
        sockets: &mut Sockets,
        kernel: &mut dyn Shortcuts,
    ) {
        match event {
            Event::Delivery(Delivery { news, reply }) => {
                let mut answer = match news {
                    News::Update { kind, changed, removed, version, .. } => {
                        tracing::debug!(%kind, version, changed = changed.len(), removed = removed.len(), "update");
                        self.awaited.remove(&kind);
                        self.update(kind, changed, removed, rollout, resolver, sockets, kernel)
                    }
                    News::Missing(missing) => {
                        let expired = |it: &&Missing| it.why == Why::Expired && it.kind == ResourceKind::Cluster;
                        missing.iter().filter(expired).for_each(|it| resolver.forget(&(&*it.name).into()));
                        follow(rollout.change(missing.into_iter().map(given_up).collect(), kernel), &[])
                    }
                };
                self.look = self.look.or(Some(Instant::now() + LOOK));
                answer.subscribe.append(&mut self.owed.subscribe);
                answer.unsubscribe.append(&mut self.owed.unsubscribe);
                // Nobody to reply to: the client has ended, and the agent is about to.
                let _ = reply.send(answer);
            }
            Event::Late => {
                let now = Instant::now();
                for (kind, _) in self.awaited.extract_if(.., |_, until| until.is_some_and(|until| until <= now)) {
                    tracing::warn!(%kind, "no response came in time; the start does not wait for it any longer");
                }
                let late: Vec<_> = self.missing.extract_if(|_, until| *until <= now).map(|(need, _)| need).collect();
                for need in &late {
                    tracing::warn!(cluster = %need.name, "a cluster that is referred to does not come");
                }
                if !late.is_empty() {
                    let reply = follow(rollout.change(late.into_iter().map(Change::GiveUp).collect(), kernel), &[]);
                    self.owed.subscribe.extend(reply.subscribe);
                    self.owed.unsubscribe.extend(reply.unsubscribe);
                }
                self.look = None;
                self.watch(rollout);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "an update concerns all of them")]
    fn update(
        &self,
        kind: ResourceKind,
        changed: Vec<(Name, Resource)>,
        removed: Vec<Name>,
        rollout: &mut Rollout,
        resolver: &mut Resolver,
        sockets: &mut Sockets,
        kernel: &mut dyn Shortcuts,
    ) -> Reply {
        let mut refused = Vec::new();
        let mut changes = Vec::with_capacity(changed.len() + removed.len());
        let mut offered = Vec::new();
        for (name, resource) in changed {
            let noun = kind.noun();
            let fault =
                |what: String| Fault { name: Some(Arc::clone(&name)), text: format!("{noun} {name:?}: {what}") };
            if self.fixed.contains(&(kind, Arc::clone(&name))) {
                refused.push(fault("one of that name stands in the agent's own configuration".to_owned()));
                continue;
            }
            if self.serves_none && matches!(resource, Resource::UdpListener(_)) {
                refused.push(fault("a UDP listener serves workloads, and mesh.workloads names none".to_owned()));
                continue;
            }
            match &resource {
                Resource::Listener(listener) => {
                    if let Err(error) = sockets.reserve(listener) {
                        refused.push(fault(error.to_string()));
                        continue;
                    }
                }
                Resource::Cluster(cluster) => resolver.follow(cluster),
                _ => {}
            }
            offered.push(name);
            changes.push(Change::Put(resource));
        }
        for name in removed {
            match kind {
                ResourceKind::Cluster => resolver.forget(&(&*name).into()),
                ResourceKind::Listener => sockets.release(&(&*name).into()),
                _ => {}
            }
            changes.push(Change::Remove(kind, name));
        }
        let mut reply = follow(rollout.change(changes, kernel), &offered);
        for fault in &reply.refused {
            if let (ResourceKind::Listener, Some(name)) = (kind, &fault.name) {
                sockets.release(&(&**name).into());
            }
        }
        reply.refused.extend(refused);
        for fault in &reply.refused {
            tracing::warn!(%kind, refused = %fault, "refused; what was live under that name stays");
        }
        reply
    }

    /// Notes which clusters are waited for.
    fn watch(&mut self, rollout: &Rollout) {
        let until = Instant::now() + CLUSTER_PATIENCE;
        let before = std::mem::take(&mut self.missing);
        for (.., need) in rollout.builder().waiting().filter(|(.., need)| need.kind == ResourceKind::Cluster) {
            self.missing.insert(need.clone(), before.get(need).copied().unwrap_or(until));
        }
    }
}

/// Reads how it stands with the management server.
pub(super) fn standing(dynamic: &Option<Dynamic>) -> Box<dyn Fn() -> Option<Standing> + Send + Sync> {
    let status = dynamic.as_ref().map(|dynamic| Arc::clone(dynamic.client.status()));
    Box::new(move || status.as_ref().map(|status| status.view()))
}

/// What happens next, if anything can.
pub(super) async fn next(dynamic: &mut Option<Dynamic>) -> Event {
    match dynamic {
        Some(dynamic) => dynamic.next().await,
        None => std::future::pending().await,
    }
}

/// The reply to changes by an update of `offered`. What does not fit and is not of that update can only be told here.
fn follow(applied: Applied, offered: &[Name]) -> Reply {
    let mut reply = Reply {
        subscribe: applied.wanted.into_iter().map(want).collect(),
        unsubscribe: applied.unwanted.into_iter().map(|need| (need.kind, need.name)).collect(),
        ..Reply::default()
    };
    for rejected in applied.rejected {
        let (_, name) = rejected.resource();
        match offered.iter().find(|offered| &***offered == name) {
            Some(name) => reply.refused.push(Fault { name: Some(Arc::clone(name)), text: rejected.to_string() }),
            None => tracing::warn!(%rejected, "cannot go live"),
        }
    }
    reply
}

fn want((need, source): (Need, ConfigSource)) -> Want {
    Want::One { kind: need.kind, name: need.name, patience: source.initial_fetch_timeout }
}

fn given_up(Missing { kind, name, why }: Missing) -> Change {
    match why {
        Why::NeverCame => Change::GiveUp(Need { kind, name }),
        Why::Expired => Change::Remove(kind, name),
    }
}
