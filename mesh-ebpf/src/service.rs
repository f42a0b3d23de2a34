//! Services of the kernel's own: is this destination one, and which of its endpoints is it to be.

use aya_ebpf::helpers::generated::bpf_get_prandom_u32;
use mesh_common::decide::{Failure, Offer};
use mesh_common::service::{Block, ChoiceKey, Service, ServiceKey, Target, slot};

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

/// An endpoint of the service that `find` found, for the client of this hash if that decides. Its set may have been replaced and removed
/// since; then the service names the new one already.
#[inline(always)]
pub(crate) fn choose(key: &ServiceKey, service: Service, client: impl FnOnce() -> u32) -> Result<Target, Failure> {
    // In one place, so that the verifier walks it once. A service whose client begins to decide at this very moment has dice once more.
    let hash = if service.slots().is_some() { client() } else { random() };
    match draw(service, hash) {
        Some(target) => Ok(target),
        None => find(key).and_then(|service| draw(service, hash)).ok_or(Failure::NoChoice),
    }
}

#[inline(always)]
fn draw(service: Service, hash: u32) -> Option<Target> {
    let index = match service.slots() {
        None => service.index(hash),
        Some(slots) => taker(service.set, slot(hash, slots))?,
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
