//! What is wanted, asked for and live of one kind of resource.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::resource::ResourceKind;
use crate::xds::session::reading::Reading;
use crate::xds::session::refusals::Refusals;
use crate::xds::session::update::{Fault, Incoming, Ticket, Update, Why};
use crate::xds::session::{Name, Timers};

/// Of one kind.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    /// Whether everything is wanted.
    pub(super) wildcard: bool,
    /// What is wanted by name.
    pub(super) names: BTreeMap<Name, Wanted>,
    /// Of the last response that was accepted as a whole.
    pub(super) version: String,
    pub(super) on_stream: OnStream,
    held: HashMap<Name, Held>,
    /// Of what is live: by which of its other names it is held.
    aliases: HashMap<Name, Name>,
    pub(super) refusals: Refusals,
    undecided: VecDeque<Undecided>,
    digest: RandomState,
}

/// A name that is wanted.
#[derive(Debug)]
pub(super) struct Wanted {
    patience: Option<Duration>,
    /// It did not come in time, or is said not to be there.
    is_missing: bool,
    /// Until when it may come, if that is being waited for.
    until: Option<Instant>,
}

/// What the server has been told, and has said, on the stream that is open.
#[derive(Debug, Default)]
pub(super) struct OnStream {
    /// Whether anything was asked for.
    pub(super) asked: bool,
    /// Whether a request named something. From then on, to name nothing means to want nothing.
    pub(super) named: bool,
    /// Whether the server has been asked for everything.
    pub(super) wildcard: bool,
    /// Of the last response.
    pub(super) nonce: String,
    /// Responses that wait for a decision.
    pub(super) waiting: usize,
    /// Wanted, and not asked for yet.
    pub(super) unasked: BTreeSet<Name>,
    /// Asked for, and wanted no longer.
    pub(super) dropped: BTreeSet<Name>,
}

/// A resource that is live.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) version: Name,
    /// When it came.
    pub(super) since: Instant,
    digest: u64,
    expires: Option<Instant>,
    /// By which other names it may be wanted: virtual hosts have them.
    aliases: Vec<Name>,
}

/// A response that waits for a decision.
#[derive(Debug)]
pub(super) struct Undecided {
    stream: u64,
    nonce: String,
    pub(super) version: String,
    pub(super) offered: Vec<(Name, Held)>,
    pub(super) faults: Vec<Fault>,
}

impl Subscription {
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Everything that is live.
    pub(super) fn all_held(&self) -> impl Iterator<Item = (&Name, &Held)> {
        self.held.iter()
    }

    /// Everything that is wanted by name and not live, and whether it is known not to be there.
    pub(super) fn absent(&self) -> impl Iterator<Item = (&Name, bool)> {
        let absent = self.names.iter().filter(|(name, _)| !self.holds(name));
        absent.map(|(name, wanted)| (name, wanted.is_missing))
    }

    pub(super) fn lacks(&self, name: &str) -> bool {
        (self.wildcard || self.names.contains_key(name)) && !self.holds(name)
    }

    /// Whether something is live by that name, its own or another.
    fn holds(&self, name: &str) -> bool {
        self.held.contains_key(name) || self.aliases.contains_key(name)
    }

    pub(super) fn lasts(&self, name: &str) -> Option<bool> {
        self.held.get(name).map(|held| held.expires.is_none())
    }

    /// A resource is live that no response on a stream has brought.
    pub(super) fn restore(&mut self, kind: ResourceKind, resource: &Incoming, now: Instant, timers: &mut Timers) {
        let Incoming { name, version, body } = resource;
        self.stop_waiting(kind, name, timers);
        let (version, digest) = (Arc::clone(version), self.digest.hash_one(body));
        let held = Held { version, since: now, digest, expires: None, aliases: Vec::new() };
        self.held.insert(Arc::clone(name), held);
    }

    pub(super) fn want(&mut self, name: &Name, patience: Option<Duration>) {
        if let Some(wanted) = self.names.get_mut(name) {
            wanted.patience = patience;
            return;
        }
        self.names.insert(Arc::clone(name), Wanted { patience, is_missing: false, until: None });
        self.on_stream.dropped.remove(name);
        self.on_stream.unasked.insert(Arc::clone(name));
    }

    pub(super) fn forget(&mut self, kind: ResourceKind, name: &str, timers: &mut Timers) {
        let Some((name, wanted)) = self.names.remove_entry(name) else { return };
        if let Some(until) = wanted.until {
            timers.remove(&(until, kind, Arc::clone(&name)));
        }
        // With a wildcard the server says whether it goes or stays ("Unsubscribing from Resources").
        if !self.wildcard {
            let whole = self.aliases.get(&name).cloned();
            for resource in [Some(Arc::clone(&name)), whole].into_iter().flatten() {
                // For another of its names it is still wanted, and the builder has it.
                if !self.held.get(&resource).is_some_and(|held| self.wants(&resource, &held.aliases)) {
                    self.release(kind, &resource, timers);
                    self.refusals.forget(&resource);
                }
            }
        }
        if !self.on_stream.unasked.remove(&name) {
            self.on_stream.dropped.insert(name);
        }
    }

    /// Every name that is wanted has now been asked for: those that are not there are waited for from now on.
    pub(super) fn asked(&mut self, kind: ResourceKind, now: Instant, timers: &mut Timers) {
        let held = |name: &Name| self.held.contains_key(name) || self.aliases.contains_key(name);
        for name in std::mem::take(&mut self.on_stream.unasked) {
            let Some(wanted) = self.names.get_mut(&name).filter(|_| !held(&name)) else { continue };
            wanted.is_missing = false;
            wanted.until = wanted.patience.map(|patience| now + patience);
            timers.extend(wanted.until.map(|until| (until, kind, name)));
        }
        self.on_stream.dropped.clear();
        self.on_stream.asked = true;
        self.on_stream.named |= !self.names.is_empty();
        self.on_stream.wildcard = self.wildcard;
    }

    /// Whether the server does not know yet what is wanted.
    pub(super) fn has_news(&self) -> bool {
        let OnStream { asked, wildcard, unasked, dropped, .. } = &self.on_stream;
        !unasked.is_empty()
            || (*asked && (!dropped.is_empty() || *wildcard != self.wildcard))
            || (!asked && self.wildcard)
    }

    pub(super) fn stream_ended(&mut self, kind: ResourceKind, timers: &mut Timers) {
        for (name, wanted) in &mut self.names {
            if let Some(until) = wanted.until.take() {
                timers.remove(&(until, kind, Arc::clone(name)));
            }
        }
        self.on_stream = OnStream { unasked: self.names.keys().cloned().collect(), ..OnStream::default() };
    }

    /// Takes what a response says that needs no judgement, and hands out what does. If it `is_whole`, what it lacks is gone.
    pub(super) fn admit(
        &mut self,
        mut reading: Reading,
        ticket: Ticket,
        is_whole: bool,
        now: Instant,
        timers: &mut Timers,
    ) -> Update {
        reading.refuse_duplicates();
        let Reading { kind, nonce, version, items, removed, faults, has_nameless } = reading;
        let mut gone = removed;
        // What cannot be told by name may be any of those that seem to be gone. And heartbeats alone are not the state of the world:
        // servers send them for those resources only that have a time to live.
        let is_heartbeat = !items.is_empty() && items.iter().all(|item| item.body.is_none());
        if is_whole && !has_nameless && !is_heartbeat {
            let present: HashSet<&Name> = items
                .iter()
                .map(|item| &item.name)
                .chain(faults.iter().filter_map(|fault| fault.name.as_ref()))
                .collect();
            gone = self.held.keys().filter(|name| !present.contains(name)).cloned().collect();
            gone.sort_unstable();
            self.refusals.retain(|name| present.contains(name));
        }
        let mut resources = Vec::new();
        let mut offered = Vec::new();
        for item in items {
            // Virtual hosts (VHDS): without itself, a resource that is not there does not exist, under each of its names.
            if kind == ResourceKind::VirtualHost && item.body.is_none() && !self.held.contains_key(&item.name) {
                let names = item.aliases.into_iter().chain([item.name]);
                gone.extend(names.filter(|name| self.names.contains_key(name)));
                continue;
            }
            if !self.wants(&item.name, &item.aliases) {
                // "How the client specifies what resources to return": silently ignored.
                continue;
            }
            // One that is beyond the clock's range is none.
            let expires = item.ttl.and_then(|ttl| now.checked_add(ttl));
            let digest = item.body.as_ref().map(|body| self.digest.hash_one(body));
            if let Some(held) = self.held.get_mut(&item.name) {
                // "TTL": a heartbeat counts if it is for the version that was sent last.
                let is_news = digest.map_or(held.version != item.version, |digest| digest != held.digest);
                if !is_news {
                    if digest.is_some() {
                        self.refusals.forget(&item.name);
                    }
                    held.version = item.version;
                    set_expiry(held, expires, kind, &item.name, timers);
                    if item.body.is_some() {
                        self.call(kind, &item.name, item.aliases, timers);
                    }
                    continue;
                }
            }
            let (Some(body), Some(digest)) = (item.body, digest) else { continue };
            for alias in &item.aliases {
                self.stop_waiting(kind, alias, timers);
            }
            let (version, aliases) = (Arc::clone(&item.version), item.aliases);
            offered.push((Arc::clone(&item.name), Held { version, since: now, digest, expires, aliases }));
            resources.push(Incoming { name: item.name, version: item.version, body });
        }
        gone.retain(|name| self.remove(kind, name, timers));
        self.on_stream.nonce.clone_from(&nonce);
        self.on_stream.waiting += 1;
        let undecided =
            Undecided { stream: ticket.stream, nonce, version: version.clone(), offered, faults: faults.clone() };
        self.undecided.push_back(undecided);
        Update { ticket, version, resources, removed: gone, faults }
    }

    pub(super) fn take_undecided(&mut self, ticket: &Ticket) -> Option<Undecided> {
        let is_it = |it: &Undecided| it.stream == ticket.stream && it.nonce == ticket.nonce;
        let at = self.undecided.iter().position(is_it)?;
        self.undecided.remove(at)
    }

    /// What was offered and not refused is live.
    pub(super) fn accept(
        &mut self,
        kind: ResourceKind,
        offered: Vec<(Name, Held)>,
        faults: &[Fault],
        now: Instant,
        timers: &mut Timers,
    ) {
        let refused: HashSet<&Name> = faults.iter().filter_map(|fault| fault.name.as_ref()).collect();
        for (name, mut held) in offered {
            // It may have been let go meanwhile.
            if refused.contains(&name) || !self.wants(&name, &held.aliases) {
                continue;
            }
            self.stop_waiting(kind, &name, timers);
            self.release(kind, &name, timers);
            self.refusals.forget(&name);
            // Judging took so long that it is over already: said at once, by the timer.
            timers.extend(held.expires.map(|expires| (expires.max(now), kind, Arc::clone(&name))));
            let expires = held.expires.map(|expires| expires.max(now));
            let aliases = std::mem::take(&mut held.aliases);
            self.held.insert(Arc::clone(&name), Held { expires, ..held });
            self.call(kind, &name, aliases, timers);
        }
    }

    /// A timer of `name` ran out: what that means.
    pub(super) fn ran_out(&mut self, name: &Name, now: Instant) -> Option<Why> {
        let is_over = |at: &mut Instant| *at <= now;
        if self.held.get_mut(name).and_then(|held| held.expires.as_mut()).is_some_and(is_over) {
            let aliases = self.take(name).map(|held| held.aliases);
            aliases.iter().flatten().chain([name]).for_each(|name| self.is_not_there(name));
            return Some(Why::Expired);
        }
        let wanted = self.names.get_mut(name)?;
        wanted.until.take_if(is_over)?;
        self.is_not_there(name);
        Some(Why::NeverCame)
    }

    /// Whether a resource is wanted, by its name or by another.
    fn wants(&self, name: &Name, aliases: &[Name]) -> bool {
        self.wildcard || self.names.contains_key(name) || aliases.iter().any(|alias| self.names.contains_key(alias))
    }

    /// The other names of something that is live: who waits for it by one of them need not any longer.
    fn call(&mut self, kind: ResourceKind, name: &Name, aliases: Vec<Name>, timers: &mut Timers) {
        let before = self.held.get_mut(name).map(|held| std::mem::take(&mut held.aliases));
        self.uncall(name, &before.unwrap_or_default());
        for alias in &aliases {
            self.stop_waiting(kind, alias, timers);
            self.aliases.insert(Arc::clone(alias), Arc::clone(name));
        }
        if let Some(held) = self.held.get_mut(name) {
            held.aliases = aliases;
        }
    }

    fn uncall(&mut self, name: &Name, aliases: &[Name]) {
        for alias in aliases {
            // Unless something newer goes by it.
            if self.aliases.get(alias) == Some(name) {
                self.aliases.remove(alias);
            }
        }
    }

    /// It is not live any longer.
    fn take(&mut self, name: &Name) -> Option<Held> {
        let held = self.held.remove(name)?;
        self.uncall(name, &held.aliases);
        Some(held)
    }

    /// Whether anybody has to hear that `name` is gone: it is live, or it is wanted by that name, and somebody may wait for it, with
    /// or without a deadline.
    fn remove(&mut self, kind: ResourceKind, name: &Name, timers: &mut Timers) -> bool {
        self.refusals.forget(name);
        let aliases = self.held.get(name).map(|held| held.aliases.clone());
        aliases.iter().flatten().chain([name]).for_each(|name| self.is_not_there(name));
        self.stop_waiting(kind, name, timers);
        self.release(kind, name, timers) || self.names.contains_key(name)
    }

    /// Until it is asked for anew.
    fn is_not_there(&mut self, name: &Name) {
        if let Some(wanted) = self.names.get_mut(name) {
            wanted.is_missing = true;
        }
    }

    fn release(&mut self, kind: ResourceKind, name: &Name, timers: &mut Timers) -> bool {
        let Some(held) = self.take(name) else { return false };
        if let Some(expires) = held.expires {
            timers.remove(&(expires, kind, Arc::clone(name)));
        }
        true
    }

    fn stop_waiting(&mut self, kind: ResourceKind, name: &Name, timers: &mut Timers) {
        if let Some(until) = self.names.get_mut(name).and_then(|wanted| wanted.until.take()) {
            timers.remove(&(until, kind, Arc::clone(name)));
        }
    }
}

fn set_expiry(held: &mut Held, expires: Option<Instant>, kind: ResourceKind, name: &Name, timers: &mut Timers) {
    if let Some(before) = held.expires.take() {
        timers.remove(&(before, kind, Arc::clone(name)));
    }
    timers.extend(expires.map(|at| (at, kind, Arc::clone(name))));
    held.expires = expires;
}
