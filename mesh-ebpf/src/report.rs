//! Records into the ring that the agent reads.
//!
//! A ring that is full loses what comes, and counts it. Refusals come as fast as an app tries again, so they leave the second half
//! of the ring to what keeps the agent's list of connections right.
//!
//! To wake the reader costs as much as the rest of a record, in the middle of a handshake. So records of connections wait until the agent
//! looks, which it does many times a second, and only a ring that fills wakes it.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE};
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use mesh_common::config::EVENT_BYTES;
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

/// Reports a connection that goes past the agent, or counts as `lost`.
#[inline(always)]
pub(crate) fn report(event: Event, lost: Counter) {
    let wake = if waiting() > EVENT_BYTES as u64 / 4 { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    write(event, lost, wake.into());
}

/// Reports a refusal, which may be lost first. The ring of a pod's inbound program has nothing else in it, and nobody looks at it
/// unless woken.
#[inline(always)]
pub(crate) fn report_refusal(event: Event, lost: Counter) {
    if waiting() > EVENTS.query(BPF_RB_RING_SIZE.into()) / 2 {
        count(lost);
    } else {
        write(event, lost, 0);
    }
}

/// Bytes that the agent has not read yet.
#[inline(always)]
fn waiting() -> u64 {
    EVENTS.query(BPF_RB_AVAIL_DATA.into())
}

#[inline(always)]
fn write(event: Event, lost: Counter, wake: u64) {
    match EVENTS.reserve::<Event>(0) {
        Some(mut entry) => {
            entry.write(event);
            entry.submit(wake);
        }
        None => count(lost),
    }
}
