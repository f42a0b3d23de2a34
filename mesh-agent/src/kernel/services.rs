//! Keeps the kernel's services as they should be, one service at a time.
//!
//! A connect never sees half of an update: the new set of choices is written first, then the service is pointed at it by one
//! store. The old set goes at the next look, a second later: a program that still reads it finds it whole.
//!
//! What finds no room stays out, and is never left as it was before: TCP then goes to the agent, which knows the listener too;
//! UDP, which has no other way, is refused.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_common::names;
use mesh_common::service::{self, ChoiceKey, MAX_BLOCKS, MAX_CHOICES, MAX_SERVICES, ServiceKey};
use tracing::{error, warn};

use crate::kernel::alias;
use crate::kernel::levels::Entries;
use crate::kernel::maps::TableError;
use crate::kernel::service_maps::ServiceMaps;
use crate::kernel::set::Set;
use crate::model::service::{Protocol, Service, Services};

/// How much the kernel may be asked to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Services.
    pub services: usize,
    /// Endpoints of all services, counted once for each service, and twice for one of UDP.
    pub choices: usize,
    /// Parts of tables of slots, of all services whose client decides.
    pub blocks: usize,
}

impl Limits {
    /// For programs that are only loaded.
    pub(crate) const LEAST: Self = Self { services: 1, choices: 1, blocks: 1 };
}

impl Default for Limits {
    fn default() -> Self {
        Self { services: MAX_SERVICES as usize, choices: MAX_CHOICES as usize, blocks: MAX_BLOCKS as usize }
    }
}

/// The kernel's services, and what they should be.
pub(crate) struct ServiceTable {
    maps: Box<dyn ServiceMaps>,
    limits: Limits,
    wanted: Services,
    live: BTreeMap<ServiceKey, Live>,
    /// Sets that no service names any more.
    retired: Vec<Written>,
    /// Services that are not in the kernel though they should be.
    left_out: BTreeSet<ServiceKey>,
    last_set: u32,
    in_use: Room,
    looked: usize,
}

/// Where a set lies in the maps.
#[derive(Clone, Debug, Default)]
struct Written {
    set: u32,
    /// Of its choices, members among them.
    indexes: Vec<u32>,
    /// How many parts its table of slots has.
    blocks: u32,
}

/// How much room sets take.
#[derive(Clone, Copy, Debug, Default)]
struct Room {
    choices: usize,
    blocks: usize,
}

/// A service as it is in the kernel.
struct Live {
    /// What it was made from; `None`: an earlier agent made it.
    service: Option<Arc<Service>>,
    entry: service::Service,
    written: Written,
}

impl ServiceTable {
    /// Over maps in which an earlier agent may have left services. They serve on until the first [`Self::forget`].
    pub(crate) fn new(maps: Box<dyn ServiceMaps>, limits: Limits) -> Result<Self, TableError> {
        let found = maps.services()?;
        let mut sets: BTreeMap<u32, Written> = BTreeMap::new();
        for key in maps.choice_keys()? {
            sets.entry(key.set).or_default().indexes.push(key.index);
        }
        for key in maps.block_keys()? {
            let written = sets.entry(key.set).or_default();
            written.blocks = written.blocks.max(key.index + 1);
        }
        sets.iter_mut().for_each(|(set, written)| written.set = *set);
        let last_set = sets.keys().next_back().copied().unwrap_or(0);
        let mut live = BTreeMap::new();
        for (key, entry) in found {
            let written = sets.remove(&entry.set).unwrap_or_default();
            live.insert(key, Live { service: None, entry, written });
        }
        let in_use = Room::of(live.values().map(|live| &live.written));
        let retired = sets.into_values().collect();
        let (wanted, left_out) = Default::default();
        Ok(Self { maps, limits, wanted, live, retired, left_out, last_set, in_use, looked: 0 })
    }

    /// What the kernel should serve.
    pub(crate) fn wanted(&self) -> &Services {
        &self.wanted
    }

    /// How many services found no room, or were refused by the kernel.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out.len()
    }

    /// How much its maps hold.
    pub(crate) fn entries(&self) -> [Entries; 3] {
        let waiting = Room::of(&self.retired);
        [
            (names::SERVICES, self.live.len()),
            (names::CHOICES, self.in_use.choices + waiting.choices),
            (names::SLOTS, self.in_use.blocks + waiting.blocks),
        ]
    }

    /// Takes away what is not in `next`.
    pub(crate) fn forget(&mut self, next: &Services) {
        let gone: Vec<_> = self.live.keys().filter(|key| !next.0.contains_key(&place(key))).copied().collect();
        for key in gone {
            self.take_away(key);
        }
        self.left_out.retain(|key| next.0.contains_key(&place(key)));
    }

    /// Makes the kernel serve all of `next`.
    pub(crate) fn learn(&mut self, next: &Services) {
        self.wanted = next.clone();
        self.catch_up();
    }

    /// Makes the kernel serve these as they are now, and the rest as before.
    pub(crate) fn change(&mut self, services: &Services) {
        for (key, service) in &services.0 {
            self.wanted.0.insert(*key, Arc::clone(service));
            self.catch_up_with(*key, service);
        }
    }

    /// To be called about once a second: removes what nothing reads any more, and tries again what the kernel refused.
    pub(crate) fn tick(&mut self) {
        self.sweep();
        if !self.left_out.is_empty() {
            self.catch_up();
        }
    }

    /// Compares the kernel's services with what they should be, and as many choices as one look may take; puts right what
    /// somebody else changed.
    pub(crate) fn reconcile(&mut self) -> Result<usize, TableError> {
        let found = self.maps.services()?;
        let mut wrong: BTreeSet<ServiceKey> = BTreeSet::new();
        for key in found.keys().filter(|key| !self.live.contains_key(key)) {
            self.maps.drop_service(key)?;
            warn!(address = %place(key).1, "a service in the kernel's maps that nobody asked for is removed");
        }
        wrong.extend(self.live.iter().filter(|(key, live)| found.get(key) != Some(&live.entry)).map(|(key, _)| *key));
        wrong.extend(self.damaged()?);
        for key in &wrong {
            warn!(address = %place(key).1, "a service in the kernel's maps is not as it should be; putting it right");
            if let Some(live) = self.live.get_mut(key) {
                live.service = None;
            }
        }
        self.catch_up();
        Ok(wrong.len())
    }

    /// Of a part of the services, a different one each time, those of whose choices some is not as it was written.
    fn damaged(&mut self) -> Result<Vec<ServiceKey>, TableError> {
        let mut budget = CHOICES_PER_LOOK;
        let mut damaged = Vec::new();
        let start = if self.looked < self.live.len() { self.looked } else { 0 };
        self.looked = start;
        for (key, live) in self.live.iter().skip(start) {
            let Some(service) = &live.service else { continue };
            let Ok(set) = Set::of(key.protocol(), service) else { continue };
            if !self.is_whole(live.entry.set, &set)? {
                damaged.push(*key);
            }
            self.looked += 1;
            budget = budget.saturating_sub((set.choices.len() + set.blocks.len()).max(1));
            if budget == 0 {
                break;
            }
        }
        Ok(damaged)
    }

    fn is_whole(&self, set: u32, wanted: &Set) -> Result<bool, TableError> {
        for &(index, choice) in &wanted.choices {
            if self.maps.choice(ChoiceKey { set, index })? != Some(choice) {
                return Ok(false);
            }
        }
        for (index, block) in (0..).zip(&wanted.blocks) {
            if self.maps.block(ChoiceKey { set, index })?.as_ref() != Some(block) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn catch_up(&mut self) {
        let wanted = self.wanted.clone();
        // Those that could not be taken away when they should have been.
        self.forget(&wanted);
        for (key, service) in &wanted.0 {
            self.catch_up_with(*key, service);
        }
    }

    fn catch_up_with(&mut self, (protocol, address): (Protocol, SocketAddr), service: &Arc<Service>) {
        let key = key(protocol, address);
        if self.live.get(&key).is_some_and(|live| live.service.as_ref() == Some(service)) {
            self.left_out.remove(&key);
            return;
        }
        let done = Set::of(key.protocol(), service).and_then(|set| {
            self.make_room(&key, &set)?;
            self.put(key, service, &set)
        });
        match done {
            Ok(()) => drop(self.left_out.remove(&key)),
            Err(error) => self.leave_out(key, service, &error),
        }
    }

    /// Whether one more service, or this one with other endpoints, is within the limits.
    fn make_room(&mut self, key: &ServiceKey, set: &Set) -> Result<(), TableError> {
        let old = Room::of(self.live.get(key).map(|live| &live.written));
        if !self.live.contains_key(key) && self.live.len() >= self.limits.services {
            return Err(TableError::Full { map: names::SERVICES });
        }
        if self.in_use.choices - old.choices + set.choices.len() > self.limits.choices {
            return Err(TableError::Full { map: names::CHOICES });
        }
        if self.in_use.blocks - old.blocks + set.blocks.len() > self.limits.blocks {
            return Err(TableError::Full { map: names::SLOTS });
        }
        // What waits for the next look is as much again at most.
        let waiting = Room::of(&self.retired);
        if waiting.choices + self.in_use.choices + set.choices.len() > 2 * self.limits.choices
            || waiting.blocks + self.in_use.blocks + set.blocks.len() > 2 * self.limits.blocks
        {
            self.sweep();
        }
        Ok(())
    }

    fn put(&mut self, key: ServiceKey, service: &Arc<Service>, set: &Set) -> Result<(), TableError> {
        // Set numbers come round after four thousand million updates.
        self.last_set = self.last_set.wrapping_add(1).max(1);
        let number = self.last_set;
        let entry = set.entry(number);
        let written = Written {
            set: number,
            indexes: set.choices.iter().map(|(index, _)| *index).collect(),
            blocks: u32::try_from(set.blocks.len()).unwrap_or(u32::MAX),
        };
        let mut put = self.maps.put_choices(number, &set.choices);
        if !set.blocks.is_empty() {
            put = put.and_then(|()| self.maps.put_blocks(number, &set.blocks));
        }
        if let Err(error) = put.and_then(|()| self.maps.put_service(&key, entry)) {
            self.retired.push(written);
            return Err(error);
        }
        self.in_use.add(&written);
        if let Some(old) = self.live.insert(key, Live { service: Some(Arc::clone(service)), entry, written }) {
            self.retire(old);
        }
        Ok(())
    }

    fn leave_out(&mut self, key: ServiceKey, service: &Service, error: &TableError) {
        let (protocol, address) = place(&key);
        let nothing = service::Service { set: 0, count: 0 };
        if self.live.get(&key).is_none_or(|live| live.entry != nothing) {
            self.take_away(key);
        }
        if protocol == Protocol::Udp {
            // As good as having no endpoint: refused at once, instead of sent to an address that nobody has.
            if self.maps.put_service(&key, nothing).is_ok() {
                self.live.insert(key, Live { service: None, entry: nothing, written: Written::default() });
            }
        }
        // Said once, though it is tried again every second.
        if self.left_out.insert(key) {
            let instead = match protocol {
                Protocol::Tcp => "its connections go through the agent",
                Protocol::Udp => "what is sent to it is refused",
            };
            error!(listener = %service.listener, %address, %error, "the kernel cannot hold this service; {instead}");
        }
    }

    fn take_away(&mut self, key: ServiceKey) {
        if let Err(error) = self.maps.drop_service(&key) {
            warn!(address = %place(&key).1, %error, "a service stays in the kernel; trying again");
            if let Some(live) = self.live.get_mut(&key) {
                live.service = None;
            }
            return;
        }
        if let Some(old) = self.live.remove(&key) {
            self.retire(old);
        }
    }

    fn retire(&mut self, old: Live) {
        self.in_use.remove(&old.written);
        if !old.written.indexes.is_empty() || old.written.blocks > 0 {
            self.retired.push(old.written);
        }
    }

    /// Removes the sets that no service names any more.
    fn sweep(&mut self) {
        for written in std::mem::take(&mut self.retired) {
            let mut dropped = self.maps.drop_choices(written.set, &written.indexes);
            if written.blocks > 0 {
                dropped = dropped.and_then(|()| self.maps.drop_blocks(written.set, written.blocks));
            }
            if let Err(error) = dropped {
                warn!(%error, "endpoints that nothing refers to stay in the kernel; trying again");
                self.retired.push(written);
            }
        }
    }
}

impl Room {
    fn of<'a>(all: impl IntoIterator<Item = &'a Written>) -> Self {
        let mut room = Self::default();
        all.into_iter().for_each(|written| room.add(written));
        room
    }

    fn add(&mut self, written: &Written) {
        self.choices += written.indexes.len();
        self.blocks += written.blocks as usize;
    }

    fn remove(&mut self, written: &Written) {
        self.choices -= written.indexes.len();
        self.blocks -= written.blocks as usize;
    }
}

fn key(protocol: Protocol, address: SocketAddr) -> ServiceKey {
    let protocol = match protocol {
        Protocol::Tcp => service::Protocol::Tcp,
        Protocol::Udp => service::Protocol::Udp,
    };
    let target = alias::target(address);
    ServiceKey::new(protocol, target.addr, target.port)
}

fn place(key: &ServiceKey) -> (Protocol, SocketAddr) {
    let protocol = match key.protocol() {
        service::Protocol::Tcp => Protocol::Tcp,
        service::Protocol::Udp => Protocol::Udp,
    };
    (protocol, SocketAddr::new(key.addr.into(), key.port.get()))
}

/// Choices that one look at the maps reads back, each by a system call.
const CHOICES_PER_LOOK: usize = 1000;
