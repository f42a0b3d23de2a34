//! Keeps the kernel's services as they should be, one service at a time.
//!
//! A connect never sees half of an update: the new set of choices is written first, then the service is pointed at it by one
//! store. The old set goes at the next look, a second later: a program that still reads it finds it whole.
//!
//! What finds no room stays out, and is never left as it was before: TCP then goes to the agent, which knows the listener too;
//! UDP, which has no other way, is refused.

mod drift;
mod found;
mod room;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_common::names;
use mesh_common::service::{self, ServiceKey};
use tracing::{error, warn};

use crate::kernel::alias;
use crate::kernel::levels::Entries;
use crate::kernel::maps::TableError;
use crate::kernel::service_maps::ServiceMaps;
use crate::kernel::services::found::Found;
use crate::kernel::services::room::{Room, Written};
use crate::kernel::set::Set;
use crate::model::service::{Protocol, Service, Services};

pub use room::Limits;

/// The kernel's services, and what they should be.
pub(crate) struct ServiceTable {
    maps: Box<dyn ServiceMaps>,
    limits: Limits,
    wanted: Services,
    /// What an earlier agent had it serve, until this one knows an endpoint for it.
    found: Services,
    live: BTreeMap<ServiceKey, Live>,
    /// Sets that no service names any more.
    retired: Vec<Written>,
    /// Services that are not in the kernel though they should be.
    left_out: BTreeSet<ServiceKey>,
    last_set: u32,
    /// No set has a higher number, and none will before the maps are told.
    reserved: u32,
    in_use: Room,
    looked: usize,
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
        let Found { live, nameless: retired, last_set, served: found } = Found::read(&*maps)?;
        let in_use = Room::of(live.values().map(|live| &live.written));
        let (wanted, left_out) = Default::default();
        let (reserved, looked) = (last_set, 0);
        Ok(Self { maps, limits, wanted, found, live, retired, left_out, last_set, reserved, in_use, looked })
    }

    /// The services of `next` as connections may have them that are there when it comes: as the kernel was to serve them until now, by
    /// this agent or by an earlier one. While one of those has no endpoint at all it may not be known yet, and none is lost.
    pub(crate) fn until(&self, next: &Services) -> Services {
        let before = |(place, service): (&(Protocol, SocketAddr), &Arc<Service>)| {
            let found = if has_endpoints(service) { self.found.0.get(place) } else { None };
            Some((*place, Arc::clone(found.or_else(|| self.wanted.0.get(place))?)))
        };
        Services(next.0.iter().filter_map(before).collect())
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
        self.found.0.retain(|place, _| !next.0.get(place).is_some_and(|service| has_endpoints(service)));
        self.wanted = next.clone();
        self.catch_up();
    }

    /// Makes the kernel serve these as they are now, and the rest as before.
    pub(crate) fn change(&mut self, services: &Services) {
        for (key, service) in &services.0 {
            if has_endpoints(service) {
                self.found.0.remove(key);
            }
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
        let number = self.number()?;
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

    /// A number that no set has had, nor will have after this agent: sockets remember them longer than the maps do, and would take
    /// another set of the same number for theirs. They come round after four thousand million updates.
    fn number(&mut self) -> Result<u32, TableError> {
        let number = self.last_set.wrapping_add(1).max(1);
        if number > self.reserved {
            let reserved = number.saturating_add(SETS_AT_ONCE);
            self.maps.reserve(reserved)?;
            self.reserved = reserved;
        }
        self.last_set = number;
        Ok(number)
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
                let refused = Live { service: None, entry: nothing, written: Written::default() };
                // Still there if it could not be taken away.
                if let Some(old) = self.live.insert(key, refused) {
                    self.retire(old);
                }
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

fn has_endpoints(service: &Service) -> bool {
    service.endpoints().next().is_some()
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

/// Numbers that are reserved at once: as many are lost when an agent ends.
const SETS_AT_ONCE: u32 = 1024;
