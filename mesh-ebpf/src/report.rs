//! Records into the ring that the agent reads.
//!
//! A ring that is full loses what comes, and counts it. Refusals come as fast as an app tries again, so they leave the second half
//! of the ring to what keeps the agent's list of connections right.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_RING_SIZE};
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use mesh_common::counter::Counter;
use mesh_common::event::Event;

use crate::emit::count;
use crate::maps::EVENTS;

/// Nanoseconds by the clock of [`Event::at`].
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: takes nothing and reads a clock.
    unsafe { bpf_ktime_get_ns() }
}

/// Reports, or counts as `lost`.
#[inline(always)]
pub(crate) fn report(event: Event, lost: Counter) {
    match EVENTS.reserve::<Event>(0) {
        Some(mut entry) => {
            entry.write(event);
            entry.submit(0);
        }
        None => count(lost),
    }
}

/// The same for what may be lost first.
#[inline(always)]
pub(crate) fn report_refusal(event: Event, lost: Counter) {
    if EVENTS.query(BPF_RB_AVAIL_DATA.into()) > EVENTS.query(BPF_RB_RING_SIZE.into()) / 2 {
        count(lost);
    } else {
        report(event, lost);
    }
}
