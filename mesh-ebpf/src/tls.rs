//! cgroup/setsockopt: an accelerated socket gets no kernel TLS.
//!
//! The kernel would let a redirected message pass its encryption by, and hand encrypted bytes that came past TCP to the reader as they
//! are. Libraries that are refused go on in user space, as they do on a kernel without TLS.

use aya_ebpf::programs::SockoptContext;
use mesh_common::counter::Counter;

use crate::emit::count;
use crate::leg;

/// Whether this option is refused.
#[inline(always)]
pub(crate) fn is_refused(ctx: &SockoptContext) -> bool {
    let context = ctx.sockopt;
    // SAFETY: the context is valid while the program runs.
    let level = unsafe { (*context).level };
    // SAFETY: as above.
    let name = unsafe { (*context).optname };
    // Zero: the kernel takes what the caller gave, of which the program has seen a page at most.
    // SAFETY: as above; this field may be written.
    unsafe { (*context).optlen = 0 };
    if level != SOL_TCP || name != TCP_ULP {
        return false;
    }
    // SAFETY: as above.
    let sk = unsafe { (*context).__bindgen_anon_1.sk };
    if sk.is_null() {
        return false;
    }
    // SAFETY: the field was read just now, is not null, and the socket is locked by `setsockopt`.
    let accelerated = unsafe { leg::of(sk.cast()) }.is_some();
    if accelerated {
        count(Counter::TlsRefused);
    }
    accelerated
}

const SOL_TCP: i32 = 6;
const TCP_ULP: i32 = 31;
