//! What lies with an accelerated socket, and how its bytes come to go by TCP.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::bindings::BPF_SK_STORAGE_GET_F_CREATE;
use aya_ebpf::helpers::generated::bpf_sk_storage_get;
use mesh_common::accelerate::{Leg, Path};
use mesh_common::counter::Counter;

use crate::emit::count;
use crate::maps::{LEGS, PAIRS};

/// The leg of a socket that has one.
///
/// # Safety
/// The pointer is a socket field of a context, not null, and read in this run of the program; the context's socket is locked, or nobody
/// else has it yet.
#[inline(always)]
pub(crate) unsafe fn of<'a>(sk: *mut c_void) -> Option<&'a mut Leg> {
    // SAFETY: null, or the socket's storage, which lives as long as the socket; by the caller nobody else changes it.
    unsafe { get(sk, 0).as_mut() }
}

/// Lays a leg there, in the place of any that an earlier connection of the socket left. `false` if there is no memory.
///
/// # Safety
/// As for [`of`].
#[inline(always)]
pub(crate) unsafe fn lay(sk: *mut c_void, leg: Leg) -> bool {
    // SAFETY: by the caller.
    match unsafe { get(sk, BPF_SK_STORAGE_GET_F_CREATE.into()).as_mut() } {
        Some(place) => {
            *place = leg;
            true
        }
        None => false,
    }
}

#[inline(always)]
unsafe fn get(sk: *mut c_void, flags: u64) -> *mut Leg {
    let map = (&raw const LEGS).cast_mut().cast();
    // SAFETY: map and socket are what the helper asks for; it answers null or a place of the map's value type.
    unsafe { bpf_sk_storage_get(map, sk, ptr::null_mut(), flags) }.cast()
}

/// Bytes that an accelerated socket sent and was sent, past TCP.
///
/// # Safety
/// As for [`of`].
#[inline(always)]
pub(crate) unsafe fn past_tcp(sk: *mut c_void) -> Option<(u64, u64)> {
    // SAFETY: by the caller.
    let leg = unsafe { of(sk) }?;
    // SAFETY: read here and now, and the kernel keeps the memory of an entry that goes until this program has run.
    let pair = unsafe { PAIRS.get(leg.pair()) }?;
    Some((pair.sent(leg.side()), pair.sent(leg.side().other())))
}

/// From now on bytes from here go by TCP; `why` is counted if that is news.
#[inline(always)]
pub(crate) fn slow(leg: &mut Leg, why: Counter) {
    if leg.path() != Path::Tcp {
        leg.advance(Path::Tcp);
        count(why);
    }
}
