//! Filters that come by themselves (ECDS).
//!
//! The router of HTTP stands in a table of the snapshot: a request takes the one of the moment, and nothing else changes with it. Rules
//! for connections are part of the listener, since the kernel keeps them too: listeners that have them are made anew around the
//! chains they have, so no connection is asked to come again.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::authz::Rules;
use crate::model::extension::{Asked, Discovery, Extension, Place, Placed as _};
use crate::model::listener::{FilterChain, Listener};
use crate::model::management::ConfigSource;
use crate::model::name::ListenerName;
use crate::model::resource::ResourceKind;
use crate::snapshot::build::{Builder, Need, Round};
use crate::snapshot::{ExtensionSlot, Rejected};

/// A filter that some listener asks for by name.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) source: ConfigSource,
    live: Option<Arc<Extension>>,
    /// Listeners, live or pending, that have a place for it, and the type that fits there; one may stand here more than once.
    users: Vec<(ListenerName, &'static str)>,
}

impl Builder {
    pub(super) fn put_extension(&mut self, extension: Arc<Extension>, round: &mut Round) {
        let Some(named) = self.extensions.get_mut(&extension.name) else { return };
        if named.live.as_ref() == Some(&extension) {
            return;
        }
        let found = extension.filter.message();
        if let Some((listener, fits)) = named.users.iter().find(|(_, fits)| *fits != found) {
            let (name, listener) = (Arc::clone(&extension.name), listener.clone());
            round.rejected.push(Rejected::ExtensionType { name, found, listener, fits });
            return;
        }
        let name = Arc::clone(&extension.name);
        named.live = Some(extension);
        self.extension_changed(&name, round);
        round.ready.extend(self.waiting.arrived(&need(&name)));
    }

    /// It is no more: what the places for it have by default stands in.
    pub(super) fn remove_extension(&mut self, name: &Arc<str>, round: &mut Round) {
        if self.extensions.get_mut(name).is_some_and(|named| named.live.take().is_some()) {
            self.extension_changed(name, round);
            // Who comes later is not to wait for what is known not to be there.
            self.waiting.do_without(need(name));
        }
        self.give_up(need(name), round);
    }

    fn extension_changed(&mut self, name: &Arc<str>, round: &mut Round) {
        let Some(named) = self.extensions.get(name) else { return };
        let live = named.live.clone();
        let has_it = |fits: &str| fits == Rules::MESSAGE;
        let listeners = named.users.iter().filter(|(_, fits)| has_it(fits)).map(|(listener, _)| listener.clone());
        let listeners: BTreeSet<_> = listeners.collect();
        let slot = self.extension_slot(name);
        self.live_extensions.set(slot.index(), live);
        round.is_changed = true;
        for listener in listeners {
            self.renew_listener(&listener, round);
        }
    }

    /// Whether another listener has a filter of that name from another source. There is one of each name here.
    pub(super) fn is_extension_elsewhere(&self, asked: &Asked<'_>, listener: &ListenerName) -> bool {
        self.extensions.get(asked.name).is_some_and(|named| {
            named.source.origin != asked.source.origin && named.users.iter().any(|(user, _)| user != listener)
        })
    }

    /// The type that a name stands for elsewhere, if it is another than a place of a listener takes: what is live would never fit there,
    /// and nothing that comes could fit in both.
    pub(super) fn other_type(&self, asked: &Asked<'_>, listener: &ListenerName) -> Option<&'static str> {
        let named = self.extensions.get(asked.name)?;
        let others = named.users.iter().filter(|(user, _)| user != listener).map(|(_, fits)| *fits);
        others.chain(named.live.as_ref().map(|live| live.filter.message())).find(|message| *message != asked.message)
    }

    /// What a listener waits for before it can go live.
    pub(super) fn missing_extension(&self, config: &Listener) -> Option<Need> {
        let missing = |asked: &Asked<'_>| {
            asked.waits
                && self.extensions.get(asked.name).is_none_or(|named| named.live.is_none())
                && !self.waiting.has_given_up(&need(asked.name))
        };
        config.all_chains().flat_map(FilterChain::extensions).find(missing).map(|asked| need(asked.name))
    }

    pub(super) fn use_extensions(&mut self, config: &Listener, round: &mut Round) {
        for Asked { name, source, message, .. } in config.all_chains().flat_map(FilterChain::extensions) {
            let before = self.extensions.get(name).map(|named| named.source.origin.clone());
            round.touched.entry(need(name)).or_insert(before);
            let new = || Named { source: source.clone(), live: None, users: Vec::new() };
            let named = self.extensions.entry(Arc::clone(name)).or_insert_with(new);
            // What has come from elsewhere serves until the new source has something.
            named.source = source.clone();
            named.users.push((config.name.clone(), message));
        }
    }

    pub(super) fn leave_extensions(&mut self, config: &Listener, round: &mut Round) {
        for Asked { name, message, .. } in config.all_chains().flat_map(FilterChain::extensions) {
            let Some(named) = self.extensions.get_mut(name) else { continue };
            if let Some(index) = named.users.iter().position(|it| *it == (config.name.clone(), message)) {
                named.users.remove(index);
            }
            if named.users.is_empty() {
                let before = self.extensions.remove(name).map(|named| named.source.origin);
                self.waiting.forget(&need(name));
                round.touched.entry(need(name)).or_insert(before);
                let slot = self.extension_slot(name);
                self.live_extensions.set(slot.index(), None);
                round.is_changed = true;
            }
        }
    }

    /// The rules of a chain as they are now. Where there are none that should be, nobody may go on.
    pub(super) fn authorization(&self, chain: &FilterChain) -> Vec<Rules> {
        let now = |place: &Place<Rules>| match place {
            Place::Fixed(rules) => rules.clone(),
            Place::Discovered(Discovery { name, default, .. }) => {
                let live = self.extensions.get(name).and_then(|named| named.live.as_ref());
                let rules = live.and_then(|live| Rules::of(&live.filter)).or(default.as_ref());
                rules.cloned().unwrap_or_else(|| Rules::nobody(name))
            }
        };
        chain.authorization.iter().map(now).collect()
    }

    /// The slot of a filter's name, which it keeps.
    pub(super) fn extension_slot(&mut self, name: &Arc<str>) -> ExtensionSlot {
        let next = u32::try_from(self.extension_slots.len()).expect("fewer than 2^32 names of filters in one process");
        *self.extension_slots.entry(Arc::clone(name)).or_insert(ExtensionSlot(next))
    }
}

fn need(name: &Arc<str>) -> Need {
    Need { kind: ResourceKind::Extension, name: Arc::clone(name) }
}
