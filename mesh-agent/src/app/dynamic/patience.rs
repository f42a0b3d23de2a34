//! What the agent waits for from its management server, and for how long.
//!
//! At the start it waits for the first response of each kind. Later, a listener or a route may name a cluster that did not come along:
//! who waits for one is looked at a moment after a change, since thousands of endpoints come one by one, and each could let somebody
//! wait for the next cluster. What is asked for by name has a time of its own, which the protocol's session keeps; that clock stands
//! still while there is no server, so the start has an end of its own as well.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::resource::ResourceKind;
use crate::rollout::Rollout;
use crate::snapshot::Need;

/// How long a cluster may be missing that a listener or a route needs, before that goes live without it. The server has sent
/// clusters before, if it goes by the protocol; those that come later are used when they come.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(15);

/// How long after a change it is looked at who waits for clusters.
const LOOK: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Kinds that no response has come for, and until when the start waits for one.
    first: BTreeMap<ResourceKind, Option<Instant>>,
    /// The longest of those waits; `None` if one has no end.
    longest: Option<Duration>,
    /// Until when the start waits for what has come and is not live, if nothing else comes.
    last: Option<Instant>,
    /// That time has passed once.
    is_over: bool,
    /// Clusters, and scopes, that something waits for, and until when.
    missing: HashMap<Need, Instant>,
    /// When it is looked at who waits.
    look: Option<Instant>,
}

impl Patience {
    /// The start waits so long for the first response of a kind; for ever if `None`.
    pub(super) fn await_first(&mut self, kind: ResourceKind, timeout: Option<Duration>) {
        let others = if self.first.is_empty() { Some(Duration::ZERO) } else { self.longest };
        self.longest = others.zip(timeout).map(|(others, this)| others.max(this));
        self.first.insert(kind, timeout.map(|timeout| Instant::now() + timeout));
    }

    /// Somebody may wait already.
    pub(super) fn look_soon(&mut self) {
        self.look = Some(Instant::now() + LOOK);
    }

    /// A response of a kind has come.
    pub(super) fn heard(&mut self, kind: ResourceKind) {
        self.first.remove(&kind);
    }

    /// Whether the start still waits: for some kind's first response, or for more of what `is_incomplete`.
    pub(super) fn is_waiting(&self, is_incomplete: bool) -> bool {
        !self.first.is_empty() || (is_incomplete && !self.is_over)
    }

    /// Something has changed.
    pub(super) fn changed(&mut self) {
        // Twice as long: who has just come asks for something else, which has its own time to come.
        self.last = self.longest.filter(|_| !self.is_over).map(|longest| Instant::now() + 2 * longest);
        self.look = self.look.or(Some(Instant::now() + LOOK));
    }

    /// When [`Patience::late`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let first = self.first.values().copied().flatten();
        self.missing.values().copied().chain(first).chain(self.look).chain(self.last).min()
    }

    /// What is not waited for any longer.
    pub(super) fn late(&mut self) -> Vec<Need> {
        let now = Instant::now();
        for (kind, _) in self.first.extract_if(.., |_, until| until.is_some_and(|until| until <= now)) {
            tracing::warn!(%kind, "no response came in time; the start does not wait for it any longer");
        }
        self.is_over |= self.last.take_if(|last| *last <= now).is_some();
        let late: Vec<_> = self.missing.extract_if(|_, until| *until <= now).map(|(need, _)| need).collect();
        for need in &late {
            tracing::warn!(kind = %need.kind, name = %need.name, "needed, and does not come");
        }
        late
    }

    /// Notes which clusters are waited for now, and whether scopes are.
    pub(super) fn look(&mut self, rollout: &Rollout) {
        self.look = None;
        let now = Instant::now();
        let before = std::mem::take(&mut self.missing);
        for (.., need) in rollout.builder().waiting() {
            let patience = match need.kind {
                ResourceKind::Cluster => Some(CLUSTER_PATIENCE),
                ResourceKind::ScopedRoute => {
                    rollout.builder().source(need).and_then(|source| source.initial_fetch_timeout)
                }
                // The session knows when what is asked for by name does not come.
                _ => None,
            };
            if let Some(patience) = patience {
                self.missing.insert(need.clone(), before.get(need).copied().unwrap_or(now + patience));
            }
        }
    }
}
