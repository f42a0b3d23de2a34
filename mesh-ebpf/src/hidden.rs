//! The hidden end that lies with a socket.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sock};
use aya_ebpf::helpers::generated::{bpf_sk_storage_delete, bpf_sk_storage_get};
use mesh_common::flow::{Addr, Hidden};

use crate::context;
use crate::maps::HIDDEN;

/// A socket as a program's context names it, taken from there once: the verifier allows no arithmetic on a context, which is
/// what the compiler makes of a field that is read again and again.
#[derive(Clone, Copy)]
pub(crate) struct Socket(*mut bpf_sock);

impl Socket {
    /// `None` for null.
    ///
    /// # Safety
    /// The pointer is a socket field of a context, read in this run of the program.
    #[inline(always)]
    pub(crate) unsafe fn new(sk: *mut bpf_sock) -> Option<Self> {
        if sk.is_null() { None } else { Some(Self(sk)) }
    }

    /// As helpers want it.
    #[inline(always)]
    pub(crate) fn as_ptr(self) -> *mut c_void {
        self.0.cast()
    }

    /// What lies there.
    #[inline(always)]
    pub(crate) fn hidden(self) -> Option<Hidden> {
        let place = self.place(0);
        // SAFETY: null, or the socket's storage, which lives as long as the socket.
        unsafe { place.as_ref() }.copied()
    }

    /// Lays it there. `false` if there is no memory.
    #[inline(always)]
    pub(crate) fn hide(self, hidden: Hidden) -> bool {
        let place = self.place(BPF_SK_STORAGE_GET_F_CREATE.into());
        if place.is_null() {
            return false;
        }
        // SAFETY: the storage is this socket's, which is locked, or which nobody else has yet.
        unsafe { *place = hidden };
        true
    }

    /// Takes away what lies there, if anything does.
    #[inline(always)]
    pub(crate) fn reveal(self) {
        let map = (&raw const HIDDEN).cast_mut().cast();
        // SAFETY: map and socket are what the helper asks for. That there is nothing to delete is the ordinary case.
        let _ = unsafe { bpf_sk_storage_delete(map, self.0.cast()) };
    }

    /// The address it is bound to; unspecified: none.
    #[inline(always)]
    pub(crate) fn bound_addr(self) -> Addr {
        // SAFETY: by `new`; these fields may be read.
        if unsafe { (*self.0).family } == AF_INET6 {
            // SAFETY: as above.
            Addr(unsafe { context::load(&raw const (*self.0).src_ip6) })
        } else {
            // SAFETY: as above.
            Addr::v4(unsafe { (*self.0).src_ip4 })
        }
    }

    /// Whether it is bound to an interface.
    #[inline(always)]
    pub(crate) fn is_bound_to_device(self) -> bool {
        // SAFETY: by `new`; this field may be read.
        unsafe { (*self.0).bound_dev_if != 0 }
    }

    #[inline(always)]
    fn place(self, flags: u64) -> *mut Hidden {
        let map = (&raw const HIDDEN).cast_mut().cast();
        // SAFETY: map and socket are what the helper asks for; it answers null or a place of the map's value type.
        unsafe { bpf_sk_storage_get(map, self.0.cast(), ptr::null_mut(), flags) }.cast()
    }
}

const AF_INET6: u32 = 10;
