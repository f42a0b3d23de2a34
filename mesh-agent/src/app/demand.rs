//! On demand, the control side: what data threads ask for becomes a subscription, and what nobody uses is let go.
//!
//! This is where time is: what is asked for has so long to come, and what is live so long to be used. A connection of bytes that is
//! open, be it carried by the agent or by the kernel alone, is a use as well.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::config::Config;
use crate::model::management::OnDemand;
use crate::model::name::ClusterName;
use crate::model::resource::ResourceKind;
use crate::proxy::{Asked, Asker, asking};
use crate::rollout::Rollout;
use crate::snapshot::{Change, Clock, Cold, Demanded, Need, Snapshot};
use crate::telemetry::Telemetry;

/// How long something that was asked for may take where the configuration would wait for ever: a client does not.
const LONGEST: Duration = Duration::from_secs(15);
/// What nobody has used for so long is let go, where the configuration does not say: the default of `mesh.on_demand_ttl`.
const TTL: Duration = Duration::from_secs(300);
/// By how many seconds the clock of uses advances at most, from tick to tick.
const LONGEST_STEP: u64 = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Demands {
    asked: Asked,
    asker: Asker,
    patience: Duration,
    ttl: u32,
    clock: Clock,
    started: Instant,
    pending: HashMap<Cold, Pending>,
    standing: Arc<Mutex<OnDemand>>,
    is_for_all: bool,
}

/// Something that somebody waits for.
#[derive(Debug)]
struct Pending {
    /// Until when it may come.
    until: Instant,
    /// It has been given up.
    is_over: bool,
}

impl Demands {
    /// If the configuration wants that: together with a rollout that knows of it.
    pub(super) fn start(config: &Config) -> (Rollout, Option<Self>) {
        let clock = Clock::default();
        let Some(dynamic) = &config.dynamic else { return (Rollout::default(), None) };
        let (rollout, ttl, patience) = match (config.mesh.on_demand, &dynamic.clusters) {
            (Some(ttl), Some(source)) => {
                (Rollout::on_demand(source.clone(), clock.clone()), ttl, source.initial_fetch_timeout)
            }
            // Virtual hosts are on demand whatever else is.
            _ => (Rollout::with_clock(&clock), TTL, None),
        };
        let patience = patience.unwrap_or(LONGEST).min(LONGEST);
        let (asker, asked) = asking(patience);
        let ttl = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
        let is_for_all = config.mesh.on_demand.is_some();
        let (started, pending, standing) = (Instant::now(), HashMap::new(), Arc::default());
        (rollout, Some(Self { asked, asker, patience, ttl, clock, started, pending, standing, is_for_all }))
    }

    /// How data threads ask.
    pub(super) fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// What is told of it.
    pub(super) fn standing(&self) -> Arc<Mutex<OnDemand>> {
        Arc::clone(&self.standing)
    }

    /// Whether clusters and routes come on demand, and not only virtual hosts.
    pub(super) fn is_for_all(&self) -> bool {
        self.is_for_all
    }

    /// What is asked for next.
    pub(super) async fn next(&mut self) -> Vec<Cold> {
        self.asked.next().await
    }

    /// Somebody waits for these: what is to be changed.
    pub(super) fn wait(&mut self, asked: Vec<Cold>, rollout: &Rollout) -> Vec<Change> {
        let until = Instant::now() + self.patience;
        let (cold, settled): (Vec<_>, Vec<_>) = asked.into_iter().partition(|cold| rollout.current().is_cold(cold));
        if !settled.is_empty() {
            // It settled before the question was here, so the bell may have been rung before anybody listened.
            self.asked.settle();
        }
        let mut changes = Vec::new();
        let before = self.pending.len();
        for cold in cold {
            changes.extend(rollout.builder().name_of(&cold).map(Change::Demand));
            self.pending.entry(cold).or_insert(Pending { until, is_over: false });
        }
        let new = self.pending.len() - before;
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).asked += new as u64;
        changes
    }

    /// Another snapshot is live: who waits for something in it goes on.
    pub(super) fn settle(&mut self, snapshot: &Snapshot) {
        let before = self.pending.len();
        self.pending.retain(|cold, _| snapshot.is_cold(cold));
        if self.pending.len() < before {
            self.asked.settle();
        }
    }

    /// Time has passed: what is to be changed. To be called about once a second.
    pub(super) fn tick(&mut self, rollout: &Rollout, telemetry: &Telemetry) -> Vec<Change> {
        let now = Instant::now();
        // By the time that those who used it saw.
        let unused = self.unused(rollout, telemetry);
        self.advance(now);
        self.pending.retain(|_, pending| !pending.is_over);
        let mut late = Vec::new();
        for (cold, pending) in self.pending.iter_mut().filter(|(_, pending)| pending.until <= now) {
            pending.is_over = true;
            late.extend(rollout.builder().name_of(cold));
        }
        // Clients choose the names of virtual hosts, so those are no line that an operator has to see.
        let (hosts, others): (Vec<_>, Vec<_>) = late.iter().partition(|need| need.kind == ResourceKind::VirtualHost);
        for need in hosts {
            tracing::debug!(name = %need.name, "a virtual host was needed, and not had in time");
        }
        for need in others {
            tracing::warn!(kind = %need.kind, name = %need.name, "needed, and not had in time; it is used if it comes later");
        }
        for need in &unused {
            tracing::debug!(kind = %need.kind, name = %need.name, "not used for a while, and let go");
        }
        self.count(rollout, unused.len());
        late.into_iter().map(Change::GiveUp).chain(unused.into_iter().map(Change::Rest)).collect()
    }

    /// Whatever was used while nobody advanced the clock has the stamp of its beginning: that time must not count as idle, or all of it
    /// would be let go at once.
    fn advance(&mut self, now: Instant) {
        let latest = u64::from(self.clock.now()) + LONGEST_STEP;
        let overslept = now.duration_since(self.started).as_secs().saturating_sub(latest);
        self.started += Duration::from_secs(overslept);
        self.clock.set(u32::try_from(now.duration_since(self.started).as_secs()).unwrap_or(u32::MAX));
    }

    /// What nobody has used for so long. A connection that goes on uses its cluster, and who waits for something needs it.
    fn unused(&self, rollout: &Rollout, telemetry: &Telemetry) -> Vec<Need> {
        let is_idle = |used: &crate::snapshot::Use| used.idle() > self.ttl;
        let awaited: HashSet<_> = self.pending.keys().filter_map(|cold| rollout.builder().name_of(cold)).collect();
        let is_idle = |it: &Demanded<'_>| !it.is_pinned && is_idle(it.used) && !awaited.contains(it.need);
        let idle: Vec<_> = rollout.builder().demanded().filter(is_idle).collect();
        if idle.is_empty() {
            return Vec::new();
        }
        let open: HashSet<ClusterName> = telemetry.clusters_in_use();
        let goes_on =
            |need: &Need| need.kind == ResourceKind::Cluster && open.contains(&ClusterName::from(&*need.name));
        let (used, unused): (Vec<_>, Vec<_>) = idle.into_iter().partition(|it| goes_on(it.need));
        used.iter().for_each(|it| it.used.touch());
        unused.into_iter().map(|it| it.need.clone()).collect()
    }

    fn count(&self, rollout: &Rollout, unused: usize) {
        let (mut clusters, mut routes, mut virtual_hosts, mut coming) = (0, 0, 0, 0);
        for it in rollout.builder().demanded() {
            match (it.is_live, it.need.kind) {
                (true, ResourceKind::Cluster) => clusters += 1,
                (true, ResourceKind::VirtualHost) => virtual_hosts += 1,
                (true, _) => routes += 1,
                (false, _) => coming += 1,
            }
        }
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        standing.clusters = clusters;
        standing.routes = routes;
        standing.virtual_hosts = virtual_hosts;
        standing.warming = self.pending.len();
        standing.missing = coming - self.pending.len().min(coming);
        let there = rollout.current().clusters().count();
        let wanted = rollout.builder().demanded().filter(|it| it.need.kind == ResourceKind::Cluster && !it.is_live);
        standing.cold = rollout.builder().named_clusters().saturating_sub(there + wanted.count());
        standing.expired += unused as u64;
    }
}

#[cfg(test)]
pub(super) mod tests;
