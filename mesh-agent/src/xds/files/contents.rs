//! One file: what is wanted of it, what of that is live, and what its next version changes. Without I/O.
//!
//! What is live is kept here as it was decoded, to tell what changed. Clusters, listeners and routes are shared with those who use
//! them; endpoints are not, so those that come by file take their memory twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use crate::model::management::{Accepted, KindStanding, Known, Refused};
use crate::model::resource::{Contents, Entry, ResourceKind};
use crate::xds::delivery::News;
use crate::xds::session::{Fault, MOST_REFUSED, Name};

/// Refusals of one file that are shown.
const MOST_SHOWN: usize = 5;

/// See the module.
#[derive(Debug)]
pub(super) struct File<R> {
    /// It has to be read (again).
    pub(super) is_unread: bool,
    /// Why its changes are not noticed, if they are not.
    pub(super) unwatched: Option<String>,
    pub(super) standing: KindStanding,
    /// Whatever it holds is wanted.
    all: bool,
    /// What is wanted by name, and until when it may come, if that is being waited for.
    names: BTreeMap<Name, Option<Instant>>,
    /// What is live, and since when.
    live: BTreeMap<Name, (Accepted, R)>,
    /// What is wrong in the last version, as far as it has a name.
    refused: BTreeMap<Name, Refused>,
    /// Of the last version: delivered, and not judged yet.
    offered: Vec<(Name, R)>,
    /// What the last version lacks, and is live.
    gone: Vec<Name>,
    /// It could be read once.
    is_known: bool,
}

impl<R: Clone + PartialEq> File<R> {
    /// One of which nothing is wanted yet.
    pub(super) fn new(unwatched: Option<String>) -> Self {
        Self {
            is_unread: true,
            unwatched,
            standing: KindStanding::default(),
            all: false,
            names: BTreeMap::new(),
            live: BTreeMap::new(),
            refused: BTreeMap::new(),
            offered: Vec::new(),
            gone: Vec::new(),
            is_known: false,
        }
    }

    pub(super) fn want_all(&mut self) {
        self.all = true;
        self.is_unread = true;
    }

    pub(super) fn want(&mut self, name: Name, patience: Option<Duration>) {
        // One that is beyond the clock's range is none.
        let until = patience.and_then(|patience| Instant::now().checked_add(patience));
        self.names.entry(name).or_insert(until);
        self.is_unread = true;
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.names.remove(name);
        if !self.all {
            self.live.remove(name);
            self.standing.held = self.live.len();
        }
    }

    /// Whether anything is wanted of it.
    pub(super) fn is_wanted(&self) -> bool {
        self.all || !self.names.is_empty()
    }

    /// What is live, wrong or missing.
    pub(super) fn known(&self) -> impl Iterator<Item = (&Name, Known)> {
        let names = self.live.keys().chain(self.refused.keys()).chain(self.names.keys());
        names.map(|name| {
            let accepted = self.live.get(name).map(|(accepted, _)| accepted.clone());
            let is_missing = accepted.is_none() && self.names.get(name) == Some(&None);
            (name, Known { accepted, refused: self.refused.get(name).cloned(), is_missing })
        })
    }

    /// Takes its next version: what is to be made live of it, if anything.
    pub(super) fn take(&mut self, kind: ResourceKind, found: Result<Contents<R>, String>) -> Option<News<R>> {
        self.is_unread = false;
        self.standing.at = Some(SystemTime::now());
        self.standing.updates += 1;
        self.standing.refusal = None;
        let Contents { version, resources } = match found {
            Ok(contents) => contents,
            Err(why) => {
                tracing::warn!(%kind, refused = %why, "a file of resources is refused; what is live stays");
                self.refuse(&[Fault { name: None, text: why }]);
                return None;
            }
        };
        self.standing.version.clone_from(&version);
        self.refused.clear();
        let is_first = !std::mem::replace(&mut self.is_known, true);
        let twice = named_twice(&resources);
        self.gone = self.missing_in(&resources);
        let mut faults: Vec<_> = twice.into_iter().map(stands_twice).collect();
        let twice: BTreeSet<_> = faults.iter().filter_map(|fault| fault.name.clone()).collect();
        let mut changed = Vec::new();
        for Entry { name, resource } in resources {
            if name.as_ref().is_some_and(|name| twice.contains(name) || !self.wants(name)) {
                continue;
            }
            match (name, resource) {
                (Some(name), Ok(resource)) => {
                    if self.live.get(&name).is_none_or(|(_, live)| *live != resource) {
                        changed.push((name, resource));
                    }
                }
                (name, Err(text)) => faults.push(Fault { name, text }),
                (None, Ok(_)) => {}
            }
        }
        for fault in &faults {
            tracing::warn!(%kind, refused = %fault, "refused; what was live under that name stays");
        }
        self.refuse(&faults);
        let refused: Vec<_> = faults.into_iter().filter_map(|fault| fault.name).collect();
        // A listener that takes an address needs the one that had it to be gone; a cluster may still be needed.
        let removed = if kind == ResourceKind::Cluster { Vec::new() } else { self.let_go() };
        let is_news = is_first || !(changed.is_empty() && removed.is_empty() && refused.is_empty());
        self.offered.clone_from(&changed);
        is_news.then_some(News::Update { kind, version, changed, removed, refused })
    }

    /// What was offered and not refused is live.
    pub(super) fn judged(&mut self, refused: &[Fault]) {
        let accepted = Accepted { version: self.standing.version.as_str().into(), at: SystemTime::now() };
        for (name, resource) in std::mem::take(&mut self.offered) {
            if refused.iter().any(|fault| fault.name.as_ref() == Some(&name)) {
                continue;
            }
            if let Some(until) = self.names.get_mut(&name) {
                *until = None;
            }
            self.live.insert(name, (accepted.clone(), resource));
        }
        self.refuse(refused);
        self.standing.held = self.live.len();
    }

    /// Whether something is live that its last version lacks.
    pub(super) fn has_gone(&self) -> bool {
        !self.gone.is_empty()
    }

    /// What its last version lacks is not live any longer.
    pub(super) fn let_go(&mut self) -> Vec<Name> {
        if !self.gone.is_empty() && self.gone.len() == self.live.len() {
            tracing::warn!(removed = self.gone.len(), "a file holds nothing any longer of what is live");
        }
        for name in &self.gone {
            self.live.remove(name);
        }
        self.standing.held = self.live.len();
        std::mem::take(&mut self.gone)
    }

    /// When [`File::overdue`] will have something to say.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.names.values().copied().flatten().min()
    }

    /// What did not come in time. Each is said once; it may still come.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Name> {
        let is_late = |(name, until): (&Name, &mut Option<Instant>)| {
            until.take_if(|until| *until <= now).map(|_| Name::clone(name))
        };
        self.names.iter_mut().filter_map(is_late).collect()
    }

    fn wants(&self, name: &Name) -> bool {
        self.all || self.names.contains_key(name)
    }

    /// What is live and goes, since it does not stand in the file any longer. Something that has no name may be any of it. What is
    /// wanted by name stays for as long as it is: only clusters and listeners are deleted by their absence.
    fn missing_in(&self, resources: &[Entry<R>]) -> Vec<Name> {
        if !self.all || resources.iter().any(|it| it.name.is_none()) {
            return Vec::new();
        }
        let present: BTreeSet<_> = resources.iter().filter_map(|it| it.name.as_ref()).collect();
        self.live.keys().filter(|name| !present.contains(name)).cloned().collect()
    }

    /// Notes what is refused of its last version.
    fn refuse(&mut self, faults: &[Fault]) {
        if faults.is_empty() {
            return;
        }
        self.standing.refused += u64::from(self.standing.refusal.is_none());
        let texts = faults.iter().map(|fault| fault.text.clone());
        let shown: Vec<_> = self.standing.refusal.take().into_iter().chain(texts).take(MOST_SHOWN).collect();
        self.standing.refusal = Some(shown.join("; "));
        let (version, at) = (&self.standing.version, SystemTime::now());
        for Fault { name, text } in faults {
            let Some(name) = name else { continue };
            if self.refused.len() < MOST_REFUSED || self.refused.contains_key(name) {
                let refused = Refused { version: version.clone(), at, reason: text.clone() };
                self.refused.insert(Name::clone(name), refused);
            }
        }
    }
}

fn stands_twice(name: Name) -> Fault {
    Fault { text: format!("{name:?} stands more than once in the file"), name: Some(name) }
}

/// Of a name that stands twice neither is taken: nobody knows which one is meant.
fn named_twice<R>(resources: &[Entry<R>]) -> BTreeSet<Name> {
    let mut once = BTreeSet::new();
    let names = resources.iter().filter_map(|it| it.name.as_ref());
    names.filter(|name| !once.insert(Name::clone(name))).cloned().collect()
}

#[cfg(test)]
mod tests;
