//! sock_ops: what happens to sockets, told to those who want to know, and the context as they see it.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_RTT_CB,
    BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_TCP_CLOSE,
};
use aya_ebpf::helpers::generated::bpf_get_netns_cookie;
use aya_ebpf::programs::SockOpsContext;
use mesh_common::flow::{Addr, PortBe};
use mesh_common::kept::Kept;

use crate::maps::NETNS;
use crate::socket::Socket;
use crate::{context, handshake, watch};

/// Looks at one event of one socket.
#[inline(always)]
pub(crate) fn observe(ctx: &SockOpsContext) {
    match ctx.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => watch::connecting(ctx),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => connected(ctx),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => accepted(ctx),
        BPF_SOCK_OPS_RTT_CB => watch::measured(ctx),
        BPF_SOCK_OPS_STATE_CB => changed(ctx, ctx.arg(0), ctx.arg(1)),
        _ => {}
    }
}

/// What goes to the agent or comes from it is carried to the other side; what goes past the agent is watched.
#[inline(always)]
fn connected(ctx: &SockOpsContext) {
    let Some(kept) = socket(ctx).and_then(Socket::kept) else { return };
    if kept.watched.is_watched() {
        watch::connected(ctx, kept);
    } else if let Some(hidden) = kept.hidden().filter(|hidden| !hidden.is_direct()) {
        handshake::put_down(ctx, hidden);
    }
}

/// In a namespace without a workload nothing is carried and nobody watches: what is none of the mesh's business costs one look-up.
#[inline(always)]
fn accepted(ctx: &SockOpsContext) {
    let netns = netns(ctx);
    // SAFETY: the map is not preallocated: an entry that is deleted meanwhile is freed after this program has run.
    let Some(workload) = (unsafe { NETNS.get(netns) }) else { return };
    let Some(socket) = socket(ctx) else { return };
    if let Some(inherited) = socket.kept() {
        // The agent measures by itself what it accepts.
        if inherited.watched.is_agent() {
            return;
        }
        // Left by an attempt to connect of the socket that then became the listener.
        *inherited = Kept::NOTHING;
    }
    if !handshake::pick_up(ctx, socket, netns) {
        watch::accepted(ctx, socket, workload);
    }
}

#[inline(always)]
fn changed(ctx: &SockOpsContext, from: u32, to: u32) {
    match socket(ctx).and_then(Socket::kept) {
        Some(kept) if kept.watched.is_watched() => watch::changed(ctx, kept, from, to),
        // Of the others only who puts something down asks for this event; who goes past the agent has nothing to put down.
        Some(kept) if to == BPF_TCP_CLOSE && kept.hidden().is_some_and(|hidden| !hidden.is_direct()) => {
            handshake::clear(ctx)
        }
        _ => {}
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
