//! sock_ops: enters sockets for acceleration when their connection is established, if its other end is on this machine too.
//!
//! Established is neither too early nor too late. A steered connection ends at the agent, which lets nothing through that policy
//! does not allow; the agent connects to an app only after it did. And before this nothing could be sent past TCP, so nothing that was
//! sent has to be overtaken. What can be sent before: data in the SYN, and a `send` that waits for the connection. The first shows in a
//! counter of the socket; the second, and everything else that TCP sends, asks for the room that options leave in a segment,
//! which is an event too. Either leaves the direction to TCP, for good.
//!
//! The connecting side is first: it files the connection under its tuple and the number of its next byte. The accepting side must find
//! it there, with the same number of its own. So no two ends of different connections are ever joined, whatever addresses were used
//! twice; and one whose app has not read all yet keeps its entry when the next connection uses its ports. Where the agent is not between, both ends are in namespaces of their own, and each finds the other's by the
//! address it talks to.

use aya_ebpf::bindings::{
    BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_HDR_OPT_LEN_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB,
    BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG, BPF_TCP_CLOSE,
    BPF_TCP_CLOSING, BPF_TCP_FIN_WAIT1, BPF_TCP_LAST_ACK,
};
use aya_ebpf::programs::SockOpsContext;
use mesh_common::accelerate::{Directions, Leg, Pair, Path, Side};
use mesh_common::counter::Counter;
use mesh_common::flow::{Addr, FlowKey};

use crate::emit::count;
use crate::leg::{self, slow};
use crate::maps::{KNOBS, LOCALS, PAIRS, SOCKETS};
use crate::socket::Socket;
use crate::sockops::{ask_for, ends, netns, socket};

/// Looks at one event of one socket.
#[inline(always)]
pub(crate) fn observe(ctx: &SockOpsContext) {
    match ctx.op() {
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => connected(ctx),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => accepted(ctx),
        BPF_SOCK_OPS_HDR_OPT_LEN_CB if ctx.arg(0) == BEFORE_DATA => sends(ctx),
        BPF_SOCK_OPS_STATE_CB => changed(ctx),
        _ => {}
    }
}

#[inline(always)]
fn connected(ctx: &SockOpsContext) {
    let Some(socket) = socket(ctx) else { return };
    let Some(hidden) = socket.hidden() else { return };
    let Some(knobs) = KNOBS.get(0) else { return };
    let directions = Directions::from_bits(knobs.accelerate);
    let (local, remote) = ends(ctx);
    let netns = netns(ctx);
    let (other, paths) = if hidden.is_direct() {
        let Some(other) = home_of(remote.0) else { return };
        (other, [directions.begin(Directions::APPS); 2])
    } else {
        let (to_agent, to_app) = (directions.begin(Directions::TO_AGENT), directions.begin(Directions::TO_APP));
        (netns, if hidden.is_shown() { [to_agent, to_app] } else { [to_app, to_agent] })
    };
    if paths[0] == Path::Tcp && paths[1] == Path::Tcp {
        return;
    }
    let (next_to_send, next_to_receive) = numbers(ctx);
    let own = FlowKey::new(netns, local, remote).numbered(next_to_send);
    let peer = FlowKey::new(other, remote, local).numbered(next_to_send);
    if PAIRS.insert(own, Pair::new(next_to_send, next_to_receive, paths), 0).is_err() {
        return count(Counter::AccelerationFull);
    }
    let mut leg = Leg::new(own, peer, Side::Connecting, paths[0]);
    // SAFETY: the context is valid while the program runs.
    if unsafe { (*ctx.ops).data_segs_out } != 0 {
        slow(&mut leg, Counter::SlowedEarly);
    }
    if !enter(ctx, socket, leg) {
        // Nobody would come for it at the close.
        let _ = PAIRS.remove(own);
    }
}

#[inline(always)]
fn accepted(ctx: &SockOpsContext) {
    let Some(socket) = socket(ctx) else { return };
    let (local, remote) = ends(ctx);
    let netns = netns(ctx);
    let (next_to_send, next_to_receive) = numbers(ctx);
    let own = FlowKey::new(netns, local, remote).numbered(next_to_receive);
    // The agent is in the app's namespace; another workload is where its address is at home.
    let mut peer = FlowKey::new(netns, remote, local).numbered(next_to_receive);
    let mut found = PAIRS.get_ptr_mut(peer);
    if found.is_none() {
        let Some(home) = home_of(remote.0) else { return };
        peer.netns = home;
        found = PAIRS.get_ptr_mut(peer);
    }
    let Some(pair) = found else { return };
    // SAFETY: the map's place of this connection, of which this field is this side's; the kernel keeps the memory of an entry that goes
    // until this program has run.
    let pair = unsafe { &mut *pair };
    if pair.is_accepted_as(next_to_send, next_to_receive) {
        let leg = Leg::new(own, peer, Side::Accepting, pair.begins(Side::Accepting));
        if enter(ctx, socket, leg) {
            pair.enter();
        }
    }
}

/// The namespace of the workload with this address.
#[inline(always)]
fn home_of(addr: Addr) -> Option<u64> {
    // SAFETY: the map is not preallocated: an entry that is deleted meanwhile is freed after this program has run.
    unsafe { LOCALS.get(addr) }.copied()
}

/// The map comes last: a socket that is there has its leg, and whatever TCP sends for it is seen. Answers whether it is there.
#[inline(always)]
fn enter(ctx: &SockOpsContext, socket: Socket, leg: Leg) -> bool {
    ask_for(ctx, BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
    // SAFETY: the pointer is the context's socket, not null; the socket is locked, or nobody else has it yet.
    let laid = unsafe { leg::lay(socket.as_ptr(), leg) };
    // SAFETY: the context is the kernel's own, and nobody else holds it while the program runs.
    let entered = laid && unsafe { SOCKETS.update(leg.own, &mut *ctx.ops, 0) }.is_ok();
    count(if entered { Counter::AcceleratedSockets } else { Counter::AccelerationFull });
    entered
}

/// TCP is about to take bytes from a `send`. On the way that the program `redirect` chose this is not asked.
#[inline(always)]
fn sends(ctx: &SockOpsContext) {
    let Some(socket) = socket(ctx) else { return };
    // SAFETY: the pointer is the context's socket, which is locked.
    if let Some(leg) = unsafe { leg::of(socket.as_ptr()) } {
        slow(leg, Counter::SlowedEarly);
        // Nothing more to learn from this event.
        let _ = ctx.set_cb_flags((ctx.cb_flags() & !BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG) as i32);
    }
}

/// A socket that has ended its sending must fail in `send`, as only TCP does.
#[inline(always)]
fn changed(ctx: &SockOpsContext) {
    let state = ctx.arg(1);
    if !matches!(state, BPF_TCP_FIN_WAIT1 | BPF_TCP_LAST_ACK | BPF_TCP_CLOSING | BPF_TCP_CLOSE) {
        return;
    }
    let Some(socket) = socket(ctx) else { return };
    // SAFETY: the pointer is the context's socket, which is locked.
    let Some(leg) = (unsafe { leg::of(socket.as_ptr()) }) else { return };
    leg.advance(Path::Tcp);
    if state == BPF_TCP_CLOSE
        && let Some(pair) = PAIRS.get_ptr_mut(leg.pair())
    {
        // Two that close at the very same time may each miss the other. Such an entry stays until the ports are used again.
        // SAFETY: as in `accepted`.
        if unsafe { &mut *pair }.close(leg.side()) {
            // Gone if the other side did it.
            let _ = PAIRS.remove(leg.pair());
        }
    }
}

/// Numbers of the next bytes to send and to receive.
#[inline(always)]
fn numbers(ctx: &SockOpsContext) -> (u32, u32) {
    // SAFETY: the context is valid while the program runs.
    let next_to_send = unsafe { (*ctx.ops).snd_nxt };
    // SAFETY: as above.
    (next_to_send, unsafe { (*ctx.ops).rcv_nxt })
}

/// `BPF_WRITE_HDR_TCP_CURRENT_MSS`: no segment yet, the question is how large it may be.
const BEFORE_DATA: u32 = 1;
