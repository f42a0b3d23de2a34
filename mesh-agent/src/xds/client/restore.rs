//! What was kept on disk, and when it is used: if no server answers at the start, what an agent before had been sent goes live, by the
//! same way as if a server had sent it. It counts as held from then on, so the first stream says so, and a server that comes back
//! changes what it would change on any reconnect.
//!
//! A kind that a server has sent something of in this agent's life is not restored: that is newer.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Over, Running, lock};
use crate::model::management::{Keep, LastGood};
use crate::model::resource::ResourceKind;
use crate::xds::delivery::News;
use crate::xds::kept::Keeper;
use crate::xds::session::{Fault, Incoming, Missing, Name, Session, Why};

/// How long a server that has come back may take to say what takes the place of clusters that it does not name any longer.
const TAKEOVER: Duration = Duration::from_secs(15);
/// When it has said nothing for so long, and owes nothing, it has said that.
const QUIET: Duration = Duration::from_secs(1);
/// How long servers are waited for that neither answer nor refuse.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Kept {
    keeper: Option<Keeper>,
    settle: Duration,
    /// When it is used at the latest, if it is not needless by then.
    restore_at: Option<Instant>,
    /// It is live, and no server has answered since.
    is_live: bool,
    /// What servers have sent something of.
    heard: BTreeSet<ResourceKind>,
    /// Something was noted, or is to be told.
    is_changed: bool,
    /// Until when a server that has come back may take to say all it has to say.
    takeover: Option<Instant>,
    /// Clusters that it does not name any longer, and when they go.
    withheld: BTreeSet<Name>,
    release_at: Option<Instant>,
}

impl Kept {
    /// Opens what is kept, if anything is to be.
    pub(super) fn open(keep: Option<Keep>) -> Self {
        let Some(Keep { folder, settle }) = keep else { return Self::default() };
        let keeper = Keeper::open(&folder);
        let restore_at = (!keeper.is_empty()).then(|| Instant::now() + PATIENCE);
        Self { keeper: Some(keeper), settle, restore_at, ..Self::default() }
    }

    /// When there is something to be restored, if nobody answers until then.
    pub(super) fn restore_at(&self) -> Option<Instant> {
        self.restore_at.filter(|_| self.heard.is_empty())
    }

    /// When there is something to be kept, or forgotten.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.keeper.as_ref().and_then(Keeper::deadline)
    }

    /// A server has begun to answer.
    pub(super) fn answers(&mut self, server: &str) {
        let Some(keeper) = &mut self.keeper else { return };
        keeper.answers(server, self.settle);
        if std::mem::replace(&mut self.is_live, false) {
            self.takeover = Instant::now().checked_add(TAKEOVER);
            tracing::info!(server, "what was kept is not needed any longer: the server goes on from there");
        }
        self.is_changed = true;
    }

    /// Of what a response removes, what goes now. Routes of before still name the clusters of before: a server that comes back with others
    /// says so before it says where requests go instead, since it does not know of requests in between.
    pub(super) fn withhold(&mut self, kind: ResourceKind, resources: &[Incoming], removed: Vec<Name>) -> Vec<Name> {
        if kind != ResourceKind::Cluster || self.takeover.is_none_or(|until| until <= Instant::now()) {
            return removed;
        }
        self.withheld.extend(removed);
        resources.iter().for_each(|resource| drop(self.withheld.take(&resource.name)));
        Vec::new()
    }

    /// A response has been judged: when what is withheld goes.
    pub(super) fn settle(&mut self, session: &Session) {
        // To look for what is owed costs more the more there is.
        self.release_at = self.takeover.filter(|_| !self.withheld.is_empty());
        if self.release_at.is_some() && !session.is_owed() {
            let quiet = Instant::now() + QUIET;
            self.release_at = self.release_at.map(|until| until.min(quiet));
        }
    }

    /// When [`Running::release`] has something to do.
    pub(super) fn release_at(&self) -> Option<Instant> {
        self.release_at
    }

    /// Notes what became of a response.
    pub(super) fn judged<'f>(
        &mut self,
        kind: ResourceKind,
        resources: Vec<Incoming>,
        removed: &[Name],
        faults: impl Iterator<Item = &'f Fault>,
        session: &Session,
    ) {
        self.heard.insert(kind);
        let Some(keeper) = &mut self.keeper else { return };
        let (named, nameless): (Vec<_>, Vec<_>) = faults.map(|fault| fault.name.as_ref()).partition(Option::is_some);
        let refused: BTreeSet<_> = named.into_iter().flatten().collect();
        for resource in resources.into_iter().filter(|resource| !refused.contains(&resource.name)) {
            // What may live only so long is nothing for another day.
            match session.lasts(kind, &resource.name) {
                Some(true) => keeper.put(kind, resource),
                _ => keeper.remove(kind, &resource.name),
            }
        }
        removed.iter().for_each(|name| keeper.remove(kind, name));
        if nameless.is_empty() && session.is_whole(kind) {
            keeper.forget_old(Some(kind), |name| refused.contains(name));
        }
        self.is_changed = true;
    }

    /// A resource may not be live any longer.
    pub(super) fn gone(&mut self, kind: ResourceKind, name: &Name, session: &Session) {
        if let Some(keeper) = &mut self.keeper
            && session.lasts(kind, name).is_none()
        {
            keeper.remove(kind, name);
            self.is_changed = true;
        }
    }

    /// What was kept of a kind and is wanted and not live, but for what was tried.
    fn wanted(
        &mut self,
        kind: ResourceKind,
        tried: &BTreeSet<(ResourceKind, Name)>,
        session: &Session,
    ) -> Vec<Incoming> {
        // Of what the server has sent all of, the rest is gone.
        let is_newer = self.heard.contains(&kind) && session.wants_all(kind);
        let Some(keeper) = self.keeper.as_mut().filter(|_| !is_newer) else { return Vec::new() };
        keeper.read(kind, |name| session.lacks(kind, name) && !tried.contains(&(kind, Name::clone(name))))
    }

    fn standing(&self) -> Option<LastGood> {
        let keeper = self.keeper.as_ref()?;
        Some(LastGood { serving: self.is_live.then(|| keeper.origin()), ..keeper.standing() })
    }
}

impl<R> Running<R> {
    /// Writes what is to be kept.
    pub(super) fn keep(&mut self) {
        let Some(keeper) = &mut self.kept.keeper else { return };
        if std::mem::take(&mut self.kept.is_changed) || keeper.deadline().is_some_and(|at| at <= Instant::now()) {
            keeper.flush();
            self.tell_kept();
        }
    }

    pub(super) fn tell_kept(&self) {
        if let Some(standing) = self.kept.standing() {
            self.status.kept(standing);
        }
    }

    /// Lets clusters go that a server that has come back does not name. Requests that follow.
    pub(super) async fn release(&mut self) -> Result<Vec<Bytes>, Over> {
        self.kept.release_at = None;
        let removed = std::mem::take(&mut self.kept.withheld).into_iter().collect();
        let (_, reply) = self.judge(ResourceKind::Cluster, "", &[], removed, &[]).await?;
        Ok(self.follow(&reply.wishes))
    }

    /// Makes live what was kept, if nothing newer has come of some kind. Once, and not while there is a stream.
    pub(super) async fn restore(&mut self) -> Result<(), Over> {
        let Some(keeper) = self.kept.keeper.as_ref().filter(|_| self.kept.restore_at.is_some()) else { return Ok(()) };
        let (at, server) = keeper.origin();
        self.kept.restore_at = None;
        let unheard = |kind: &ResourceKind| !self.kept.heard.contains(kind) && self.session().wants_all(*kind);
        let unheard: Vec<_> = ResourceKind::ALL.into_iter().filter(unheard).collect();
        if unheard.is_empty() && !self.kept.heard.is_empty() {
            return Ok(());
        }
        let age = at.elapsed().unwrap_or_default().as_secs();
        tracing::warn!(age_seconds = age, server, "no management server answers; what was kept of it goes live");
        self.kept.is_live = true;
        // Also of what nothing was kept: there was nothing.
        self.bring_back(unheard).await?;
        // Who waits for what was not there then need not wait for it now.
        let missing = self.session().lacking().into_iter();
        let missing: Vec<_> = missing.map(|(kind, name)| Missing { kind, name, why: Why::NeverCame }).collect();
        if !missing.is_empty() {
            let reply = self.deliver(News::Missing(missing)).await?;
            drop(self.follow(&reply.wishes));
        }
        self.tell_kept();
        Ok(())
    }

    /// Makes live what was kept of what has come to be wanted since. Requests that follow.
    pub(super) async fn restore_wanted(&mut self) -> Result<Vec<Bytes>, Over> {
        if self.kept.is_live { self.bring_back(Vec::new()).await } else { Ok(Vec::new()) }
    }

    /// Makes live what was kept and is wanted, and what is wanted in consequence. `all`: kinds of which that is news in any case.
    async fn bring_back(&mut self, mut all: Vec<ResourceKind>) -> Result<Vec<Bytes>, Over> {
        let mut tried = BTreeSet::new();
        let mut requests = Vec::new();
        loop {
            let before = tried.len();
            for kind in ResourceKind::ALL {
                let resources = self.kept.wanted(kind, &tried, &lock(&self.session));
                let is_news = all.extract_if(.., |it| *it == kind).next().is_some();
                if resources.is_empty() && !is_news {
                    continue;
                }
                tried.extend(resources.iter().map(|it| (kind, Name::clone(&it.name))));
                requests.extend(self.bring_back_some(kind, resources).await?);
            }
            if tried.len() == before {
                return Ok(requests);
            }
        }
    }

    async fn bring_back_some(&mut self, kind: ResourceKind, mut resources: Vec<Incoming>) -> Result<Vec<Bytes>, Over> {
        let (mut refused, reply) = self.judge(kind, KEPT, &resources, Vec::new(), &[]).await?;
        refused.extend(reply.refused);
        for fault in &refused {
            tracing::warn!(%kind, %fault, "what was kept cannot go live");
        }
        let refused: BTreeSet<_> = refused.iter().filter_map(|fault| fault.name.as_ref()).collect();
        resources.retain(|resource| !refused.contains(&resource.name));
        self.session().restored(kind, &resources, Instant::now());
        if let Some(keeper) = &mut self.kept.keeper {
            resources.iter().for_each(|resource| keeper.confirm(kind, &resource.name));
        }
        Ok(self.follow(&reply.wishes))
    }
}

/// Stands for the version of what no response has brought.
const KEPT: &str = "kept";
