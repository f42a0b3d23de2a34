//! sock_ops: what happens to sockets, told to those who want to know, and the context as they see it.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_RTT_CB,
    BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_TCP_CLOSE,
};
use aya_ebpf::helpers::generated::bpf_get_netns_cookie;
use aya_ebpf::programs::SockOpsContext;
use mesh_common::flow::{Addr, PortBe};

use crate::hidden::Socket;
use crate::{context, handshake, watch};

/// Looks at one event of one socket.
#[inline(always)]
pub(crate) fn observe(ctx: &SockOpsContext) {
    match ctx.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => watch::connecting(ctx),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => {
            handshake::put_down(ctx);
            watch::connected(ctx);
        }
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => accepted(ctx),
        BPF_SOCK_OPS_RTT_CB => watch::measured(ctx),
        BPF_SOCK_OPS_STATE_CB => changed(ctx, ctx.arg(0), ctx.arg(1)),
        _ => {}
    }
}

/// A connection that carries something is the agent's to measure.
#[inline(always)]
fn accepted(ctx: &SockOpsContext) {
    if !handshake::pick_up(ctx) {
        watch::accepted(ctx);
    }
}

/// A connection that is watched goes past the agent, and its handshake carried nothing.
#[inline(always)]
fn changed(ctx: &SockOpsContext, from: u32, to: u32) {
    if !watch::changed(ctx, from, to) && to == BPF_TCP_CLOSE {
        handshake::clear(ctx);
    }
}

/// Its socket.
#[inline(always)]
pub(crate) fn socket(ctx: &SockOpsContext) -> Option<Socket> {
    // SAFETY: the context is valid while the program runs, and the field is its socket.
    unsafe { Socket::new((*ctx.ops).__bindgen_anon_2.sk) }
}

/// Asks for more events of it, and keeps those that were asked for.
#[inline(always)]
pub(crate) fn ask_for(ctx: &SockOpsContext, flags: u32) {
    // Cannot be refused to a full socket.
    let _ = ctx.set_cb_flags(ctx.cb_flags() as i32 | flags as i32);
}

/// The cookie of its namespace.
#[inline(always)]
pub(crate) fn netns(ctx: &SockOpsContext) -> u64 {
    // SAFETY: the context is the kernel's own; the helper only reads it.
    unsafe { bpf_get_netns_cookie(ctx.as_ptr()) }
}

/// Local and remote end. The kernel keeps the addresses of an IPv6 socket that speaks IPv4 as mapped ones.
#[inline(always)]
pub(crate) fn ends(ctx: &SockOpsContext) -> ((Addr, PortBe), (Addr, PortBe)) {
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
