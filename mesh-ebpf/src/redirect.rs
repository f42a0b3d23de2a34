//! sk_msg: what is sent on an accelerated socket goes to the socket at the other end, past TCP.
//!
//! Runs with the sending socket locked, once for each piece of a `send` that fits into 16 fragments of memory.

use aya_ebpf::bindings::{BPF_F_INGRESS, sk_action};
use aya_ebpf::programs::SkMsgContext;
use mesh_common::accelerate::{Limit, Path};
use mesh_common::counter::Counter;

use crate::emit::{add, count};
use crate::leg::{self, slow};
use crate::maps::{PAIRS, SOCKETS};

/// Redirects, or leaves the bytes to TCP, which is what happens to them unless told otherwise.
#[inline(always)]
pub(crate) fn redirect(ctx: &SkMsgContext) {
    // SAFETY: the context is valid while the program runs.
    let sk = unsafe { (*ctx.msg).__bindgen_anon_3.sk };
    if sk.is_null() {
        return;
    }
    // SAFETY: the field was read just now, is not null, and the sending socket is locked.
    let Some(leg) = (unsafe { leg::of(sk.cast()) }) else { return };
    let Some(pair) = PAIRS.get_ptr_mut(leg.pair()) else { return slow(leg, Counter::SlowedNoPeer) };
    // SAFETY: the map's place of this connection. Its other end may write there too; what comes of that is said at the type. The
    // entry goes when the connecting socket closes, and the kernel keeps the memory until this program has run.
    let pair = unsafe { &mut *pair };
    pair.answer(leg.side());
    if leg.path() == Path::Tcp {
        return;
    }
    let size = ctx.size();
    match pair.admit(leg.side(), size) {
        Ok(()) => {}
        Err(Limit::Unanswered) => return slow(leg, Counter::SlowedUnanswered),
        Err(Limit::Share) => return slow(leg, Counter::SlowedShare),
    }
    // The answer "drop" means that nobody is there under this key. It binds nobody: the program's own answer is "pass".
    if SOCKETS.redirect_msg(ctx, &mut leg.peer, BPF_F_INGRESS.into()) == i64::from(sk_action::SK_PASS) {
        leg.advance(Path::Direct);
        count(Counter::AcceleratedMessages);
        add(Counter::AcceleratedBytes, size.into());
    } else {
        slow(leg, Counter::SlowedNoPeer);
    }
}
