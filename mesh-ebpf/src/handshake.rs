//! Carries a hidden end from the connecting socket to the accepted one.
//!
//! Both sockets are on this machine and in one namespace. The connecting side puts it down when the SYN-ACK arrives, before
//! its ACK is sent; the accepting side picks it up when that ACK makes its socket, before `accept` can return it. So an entry
//! lives for microseconds, however slow the accepting process is, and however short the connection. What is never picked up
//! goes when the connecting socket closes.

use aya_ebpf::bindings::BPF_SOCK_OPS_STATE_CB_FLAG;
use aya_ebpf::programs::SockOpsContext;
use aya_log_ebpf::warn;
use mesh_common::counter::Counter;
use mesh_common::flow::{FlowKey, Hidden};
use mesh_common::kept::Kept;

use crate::emit::count;
use crate::maps::HANDSHAKES;
use crate::socket::Socket;
use crate::sockops::{ask_for, ends, netns};

/// The connecting side has its SYN-ACK.
#[inline(always)]
pub(crate) fn put_down(ctx: &SockOpsContext, hidden: Hidden) {
    let other = hidden.for_other_side();
    let (local, remote) = ends(ctx);
    if HANDSHAKES.insert(FlowKey::new(netns(ctx), local, remote), other, 0).is_err() {
        count(Counter::HandshakeMapFull);
        warn!(ctx, "pod {}: too many handshakes at once, an original address is lost", other.pod);
        return;
    }
    // Without this event an entry could be left behind.
    ask_for(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
}

/// The accepting side has its socket. Answers whether there was something to pick up.
#[inline(always)]
pub(crate) fn pick_up(ctx: &SockOpsContext, socket: Socket, netns: u64) -> bool {
    let (local, remote) = ends(ctx);
    let key = FlowKey::new(netns, remote, local);
    // SAFETY: the entry is removed by this program alone, below, after it was copied.
    let Some(hidden) = (unsafe { HANDSHAKES.get(key) }).copied() else { return false };
    if !socket.keep(Kept::hiding(hidden)) {
        count(Counter::AcceptNoMemory);
        warn!(ctx, "pod {}: no memory at an accepted socket, an original address is lost", hidden.pod);
    }
    // Fails only if the connecting socket was closed and cleared it.
    let _ = HANDSHAKES.remove(key);
    true
}

/// The connecting side closes.
#[inline(always)]
pub(crate) fn clear(ctx: &SockOpsContext) {
    let (local, remote) = ends(ctx);
    // Nothing to remove is the ordinary case: the accepting side took it.
    let _ = HANDSHAKES.remove(FlowKey::new(netns(ctx), local, remote));
}
