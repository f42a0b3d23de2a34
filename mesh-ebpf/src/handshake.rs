//! sock_ops: carries a hidden end from the connecting socket to the accepted one.
//!
//! Both sockets are on this machine and in one namespace. The connecting side puts it down when the SYN-ACK arrives, before
//! its ACK is sent; the accepting side picks it up when that ACK makes its socket, before `accept` can return it. So an entry
//! lives for microseconds, however slow the accepting process is, and however short the connection. What is never picked up
//! goes when the connecting socket closes.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB,
    BPF_SOCK_OPS_STATE_CB_FLAG, BPF_TCP_CLOSE,
};
use aya_ebpf::helpers::generated::bpf_get_netns_cookie;
use aya_ebpf::programs::SockOpsContext;
use aya_log_ebpf::warn;
use mesh_common::counter::Counter;
use mesh_common::flow::{Addr, FlowKey, PortBe};

use crate::context;
use crate::emit::count;
use crate::hidden::Socket;
use crate::maps::HANDSHAKES;

/// Looks at one event of one socket.
#[inline(always)]
pub(crate) fn observe(ctx: &SockOpsContext) {
    match ctx.op() {
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => put_down(ctx),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => pick_up(ctx),
        BPF_SOCK_OPS_STATE_CB if ctx.arg(1) == BPF_TCP_CLOSE => clear(ctx),
        _ => {}
    }
}

#[inline(always)]
fn put_down(ctx: &SockOpsContext) {
    let Some(hidden) = socket(ctx).and_then(Socket::hidden) else { return };
    if hidden.is_direct() {
        return;
    }
    let other = hidden.for_other_side();
    let (local, remote) = ends(ctx);
    if HANDSHAKES.insert(FlowKey::new(netns(ctx), local, remote), other, 0).is_err() {
        count(Counter::HandshakeMapFull);
        warn!(ctx, "pod {}: too many handshakes at once, an original address is lost", other.pod);
        return;
    }
    // Without this event an entry could be left behind; the flag cannot be refused to a full socket.
    let _ = ctx.set_cb_flags(ctx.cb_flags() as i32 | BPF_SOCK_OPS_STATE_CB_FLAG as i32);
}

#[inline(always)]
fn pick_up(ctx: &SockOpsContext) {
    let (local, remote) = ends(ctx);
    let key = FlowKey::new(netns(ctx), remote, local);
    // SAFETY: the entry is removed by this program alone, below, after it was copied.
    let Some(hidden) = (unsafe { HANDSHAKES.get(key) }).copied() else { return };
    if !socket(ctx).is_some_and(|socket| socket.hide(hidden)) {
        count(Counter::AcceptNoMemory);
        warn!(ctx, "pod {}: no memory at an accepted socket, an original address is lost", hidden.pod);
    }
    // Fails only if the connecting socket was closed and cleared it.
    let _ = HANDSHAKES.remove(key);
}

#[inline(always)]
fn clear(ctx: &SockOpsContext) {
    let (local, remote) = ends(ctx);
    // Nothing to remove is the ordinary case: the accepting side took it.
    let _ = HANDSHAKES.remove(FlowKey::new(netns(ctx), local, remote));
}

#[inline(always)]
fn socket(ctx: &SockOpsContext) -> Option<Socket> {
    // SAFETY: the context is valid while the program runs, and the field is its socket.
    unsafe { Socket::new((*ctx.ops).__bindgen_anon_2.sk) }
}

#[inline(always)]
fn netns(ctx: &SockOpsContext) -> u64 {
    // SAFETY: the context is the kernel's own; the helper only reads it.
    unsafe { bpf_get_netns_cookie(ctx.as_ptr()) }
}

/// Local and remote end. The kernel keeps the addresses of an IPv6 socket that speaks IPv4 as mapped ones.
#[inline(always)]
fn ends(ctx: &SockOpsContext) -> ((Addr, PortBe), (Addr, PortBe)) {
    let (local, remote) = if ctx.family() == AF_INET6 {
        // SAFETY: the context is valid while the program runs.
        let local = unsafe { context::load(&raw const (*ctx.ops).local_ip6) };
        // SAFETY: as above.
        (Addr(local), Addr(unsafe { context::load(&raw const (*ctx.ops).remote_ip6) }))
    } else {
        (Addr::v4(ctx.local_ip4()), Addr::v4(ctx.remote_ip4()))
    };
    // The kernel gives the local port in host order, and the remote one in network order in the field's upper half.
    let remote_port = PortBe((u32::from_be(ctx.remote_port()) as u16).to_be());
    ((local, PortBe::new(ctx.local_port() as u16)), (remote, remote_port))
}

const AF_INET6: u32 = 10;
