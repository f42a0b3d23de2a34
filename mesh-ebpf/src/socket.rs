//! A socket as a program sees it, and what lies with it.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sock};
use aya_ebpf::helpers::generated::bpf_sk_storage_get;
use mesh_common::flow::{Addr, Hidden};
use mesh_common::kept::Kept;

use crate::context;
use crate::maps::KEPT;

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

    /// What lies there, if anything does.
    #[inline(always)]
    pub(crate) fn kept<'a>(self) -> Option<&'a mut Kept> {
        // SAFETY: null, or the socket's storage, which lives as long as the socket; hooks of one socket run one after the other.
        unsafe { self.place(0).as_mut() }
    }

    /// Lays this there. `false` if there is no memory.
    #[inline(always)]
    pub(crate) fn keep(self, kept: Kept) -> bool {
        // SAFETY: null, or the storage of this socket, which is locked, or which nobody else has yet.
        match unsafe { self.place(BPF_SK_STORAGE_GET_F_CREATE.into()).as_mut() } {
            Some(place) => {
                *place = kept;
                true
            }
            None => false,
        }
    }

    /// The end it hides, if it hides one.
    #[inline(always)]
    pub(crate) fn hidden(self) -> Option<Hidden> {
        self.kept()?.hidden()
    }

    /// Ends what an earlier attempt to connect has left there.
    #[inline(always)]
    pub(crate) fn forget(self) {
        if let Some(kept) = self.kept() {
            *kept = Kept::NOTHING;
        }
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
    fn place(self, flags: u64) -> *mut Kept {
        let map = (&raw const KEPT).cast_mut().cast();
        // SAFETY: map and socket are what the helper asks for; it answers null or a place of the map's value type.
        unsafe { bpf_sk_storage_get(map, self.0.cast(), ptr::null_mut(), flags) }.cast()
    }
}

const AF_INET6: u32 = 10;
