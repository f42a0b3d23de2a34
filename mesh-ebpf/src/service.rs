//! Services of the kernel's own: is this destination one, and which of its endpoints is it to be.

use aya_ebpf::helpers::generated::bpf_get_prandom_u32;
use mesh_common::decide::{Failure, Offer};
use mesh_common::flow::Addr;
use mesh_common::service::{Block, ChoiceKey, Service, ServiceKey, Target, client_hash, slot};

use crate::maps::{CHOICES, SERVICES, SLOTS};

/// What is offered at this address.
#[inline(always)]
pub(crate) fn find(key: &ServiceKey) -> Option<Service> {
    // SAFETY: the map is not preallocated: an entry that is replaced meanwhile is freed after this program has run.
    unsafe { SERVICES.get(key) }.copied()
}

/// The same as a question asks it.
#[inline(always)]
pub(crate) fn offer(service: Option<Service>) -> Offer {
    match service {
        None => Offer::Nothing,
        Some(service) if service.count == 0 => Offer::NoEndpoint,
        Some(_) => Offer::Endpoints,
    }
}

/// An endpoint of the service that `find` found, for this client if that decides. Its set may have been replaced and removed since; then
/// the service names the new one already.
#[inline(always)]
pub(crate) fn choose(key: &ServiceKey, service: Service, client: impl Fn() -> Addr) -> Result<Target, Failure> {
    match draw(service, &client) {
        Some(target) => Ok(target),
        None => find(key).and_then(|service| draw(service, &client)).ok_or(Failure::NoChoice),
    }
}

#[inline(always)]
fn draw(service: Service, client: &impl Fn() -> Addr) -> Option<Target> {
    let index = match service.slots() {
        None => service.index(random()),
        Some(slots) => taker(service.set, slot(client_hash(client()), slots))?,
    };
    // SAFETY: as for the services.
    let choice = unsafe { CHOICES.get(ChoiceKey { set: service.set, index }) }?;
    Some(choice.toss(random()))
}

/// The choice that has the slot.
#[inline(always)]
fn taker(set: u32, slot: u32) -> Option<u32> {
    // SAFETY: as for the services.
    let block = unsafe { SLOTS.get(ChoiceKey { set, index: Block::of_slot(slot) }) }?;
    Some(block.taker(slot))
}

#[inline(always)]
fn random() -> u32 {
    // SAFETY: takes nothing.
    unsafe { bpf_get_prandom_u32() }
}

/// Whether this is an endpoint of the service.
#[inline(always)]
pub(crate) fn is_member(service: Service, target: &Target) -> bool {
    let key = ChoiceKey { set: service.set, index: target.member_index() };
    // SAFETY: as for the services.
    unsafe { CHOICES.get(key) }.is_some_and(|choice| choice.first == *target)
}
