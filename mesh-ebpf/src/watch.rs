//! Connections that go past the agent, measured where they are: opened, closed, now and then how far they are.
//!
//! What the agent carries it measures itself, and nobody pays twice: of a steered connection no socket is watched. `connect` says
//! which sockets are; what comes in to a workload is watched unless its socket is the agent's, which it inherits from the
//! listener it was accepted from.
//!
//! The numbers of a connection that goes on are reported when its round trip is measured, which happens once a round trip while
//! it sends. There is no timer, so what is silent costs nothing; what only receives is reported when it closes.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{BPF_SK_STORAGE_GET_F_CREATE, BPF_SOCK_OPS_RTT_CB_FLAG, BPF_SOCK_OPS_STATE_CB_FLAG};
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_sk_storage_delete, bpf_sk_storage_get};
use aya_ebpf::programs::{SockAddrContext, SockOpsContext};
use mesh_common::config::REPORT_EVERY;
use mesh_common::counter::Counter;
use mesh_common::decide::{Verdict, Way};
use mesh_common::event::{Event, Kind, Raw, Watched, state};
use mesh_common::flow::{Addr, PortBe};
use mesh_common::workload::Workload;

use crate::emit::count;
use crate::exclude::is_excluded;
use crate::hidden::Socket;
use crate::leg;
use crate::maps::{NETNS, WATCHED};
use crate::report::{now, report, report_refusal};
use crate::sockops::{ask_for, ends, netns, socket};

/// A `connect` was decided: begins to watch its socket, or makes sure that it is not watched for an earlier attempt.
#[inline(always)]
pub(crate) fn decided(
    ctx: &SockAddrContext,
    socket: Socket,
    workload: &Workload,
    verdict: Verdict,
    (destination, port): (Addr, PortBe),
    (set, rule): (u32, u32),
) {
    match verdict {
        Verdict::Pass(Counter::PassedLocal) | Verdict::Steer(_) => socket.unwatch(),
        Verdict::Deny(why) => {
            socket.unwatch();
            let mut event = Event::new(Kind::Denied, Way::Outbound, workload.pod, why);
            (event.at, event.since) = (now(), now());
            // SAFETY: the context is the kernel's own; the helper only reads it.
            event.cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
            (event.asked, event.asked_port) = (destination, port);
            (event.remote, event.remote_port) = (destination, port);
            (event.set, event.rule) = (set, rule);
            report_refusal(event, Counter::EventsLostConnect);
        }
        Verdict::Pass(_) | Verdict::Direct(_) => {
            socket.watch(Watched::new(Way::Outbound, workload.pod, verdict.counter(Way::Outbound), now()));
        }
    }
}

/// Before the SYN: a connection that is never made shall be told of, too.
#[inline(always)]
pub(crate) fn connecting(ctx: &SockOpsContext) {
    if socket(ctx).is_some_and(|socket| socket.watched().is_some()) {
        ask_for(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
    }
}

/// The SYN-ACK is here.
#[inline(always)]
pub(crate) fn connected(ctx: &SockOpsContext) {
    let Some(socket) = socket(ctx) else { return };
    let Some(watched) = socket.watched() else { return };
    watched.establish();
    opened(ctx, socket, watched);
}

/// A connection came in that nothing is known of: it passed the inbound program, or that program's pod has none.
#[inline(always)]
pub(crate) fn accepted(ctx: &SockOpsContext) {
    // SAFETY: the map is not preallocated: an entry that is deleted meanwhile is freed after this program has run.
    let Some(workload) = (unsafe { NETNS.get(netns(ctx)) }) else { return };
    let ((local, port), (remote, _)) = ends(ctx);
    if workload.is_by_cgroup() || local == remote || local.is_local() || remote.is_local() {
        return;
    }
    let Some(socket) = socket(ctx) else { return };
    if socket.watched().is_some_and(|inherited| inherited.is_agent()) {
        return;
    }
    let why = if is_excluded(local, port) { Counter::InboundExcluded } else { Counter::InboundUnclaimed };
    let mut watched = Watched::new(Way::Inbound, workload.pod, why, now());
    watched.establish();
    socket.watch(watched);
    if let Some(watched) = socket.watched() {
        opened(ctx, socket, watched);
    }
}

/// A round trip was measured.
#[inline(always)]
pub(crate) fn measured(ctx: &SockOpsContext) {
    let Some(socket) = socket(ctx) else { return };
    let Some(watched) = socket.watched() else { return };
    let now = now();
    if now.wrapping_sub(watched.reported) >= REPORT_EVERY {
        watched.reported = now;
        // SAFETY: the context is valid while the program runs.
        let state = unsafe { (*ctx.ops).state };
        report_numbers(ctx, socket, watched, Kind::Ongoing, state);
    }
}

/// The socket goes from one state to another. Answers whether it is watched.
#[inline(always)]
pub(crate) fn changed(ctx: &SockOpsContext, from: u32, to: u32) -> bool {
    let Some(socket) = socket(ctx) else { return false };
    let Some(watched) = socket.watched() else { return false };
    match to {
        state::FIN_WAIT2 => watched.received_before = raw(ctx, watched).received,
        state::CLOSE => {
            let kind = watched.end(from, &raw(ctx, watched));
            report_numbers(ctx, socket, watched, kind, from);
            socket.unwatch();
        }
        _ => {}
    }
    true
}

#[inline(always)]
fn opened(ctx: &SockOpsContext, socket: Socket, watched: &Watched) {
    ask_for(ctx, BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RTT_CB_FLAG);
    report_numbers(ctx, socket, watched, Kind::Opened, ESTABLISHED);
}

#[inline(always)]
fn report_numbers(ctx: &SockOpsContext, socket: Socket, watched: &Watched, kind: Kind, state: u32) {
    let mut event = Event::of(kind, watched);
    event.at = now();
    // SAFETY: the context is the kernel's own; the helper only reads it.
    event.cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    let (local, remote) = ends(ctx);
    (event.local, event.local_port) = local;
    (event.remote, event.remote_port) = remote;
    (event.asked, event.asked_port) = match watched.way() {
        Way::Inbound => local,
        Way::Outbound => match socket.hidden() {
            Some(hidden) => (hidden.addr, hidden.port),
            None => remote,
        },
    };
    (event.sent, event.received) = raw(ctx, watched).payload(watched.way(), state);
    // SAFETY: the pointer is the context's socket, which is locked.
    if let Some((sent, received)) = unsafe { leg::past_tcp(socket.as_ptr()) } {
        event.sent += sent;
        event.received += received;
    }
    // SAFETY: the context is valid while the program runs, here and below.
    event.segments_out = unsafe { (*ctx.ops).segs_out };
    // SAFETY: as above.
    event.segments_in = unsafe { (*ctx.ops).segs_in };
    // SAFETY: as above.
    event.retransmits = unsafe { (*ctx.ops).total_retrans };
    // SAFETY: as above. The kernel keeps eighths.
    event.srtt_us = unsafe { (*ctx.ops).srtt_us } >> 3;
    report(event, Counter::EventsLostSocket);
}

#[inline(always)]
fn raw(ctx: &SockOpsContext, watched: &Watched) -> Raw {
    // SAFETY: the context is valid while the program runs, here and below.
    let acked = unsafe { (*ctx.ops).bytes_acked };
    // SAFETY: as above.
    let received = unsafe { (*ctx.ops).bytes_received };
    // SAFETY: as above.
    let (una, nxt) = unsafe { ((*ctx.ops).snd_una, (*ctx.ops).snd_nxt) };
    Raw { acked, received, received_before: watched.received_before, all_acked: una == nxt }
}

impl Socket {
    /// What is kept with it, if it is watched.
    #[inline(always)]
    fn watched<'a>(self) -> Option<&'a mut Watched> {
        // SAFETY: null, or the socket's storage, which lives as long as the socket; hooks of one socket run one after the other.
        unsafe { self.watch_place(0).as_mut() }
    }

    #[inline(always)]
    fn watch(self, watched: Watched) {
        let place = self.watch_place(BPF_SK_STORAGE_GET_F_CREATE.into());
        if place.is_null() {
            return count(Counter::Unwatched);
        }
        // SAFETY: as in `watched`.
        unsafe { *place = watched };
    }

    #[inline(always)]
    fn unwatch(self) {
        let map = (&raw const WATCHED).cast_mut().cast();
        // SAFETY: map and socket are what the helper asks for. That there is nothing to delete is the ordinary case.
        let _ = unsafe { bpf_sk_storage_delete(map, self.as_ptr()) };
    }

    #[inline(always)]
    fn watch_place(self, flags: u64) -> *mut Watched {
        let map = (&raw const WATCHED).cast_mut().cast();
        // SAFETY: map and socket are what the helper asks for; it answers null or a place of the map's value type.
        unsafe { bpf_sk_storage_get(map, self.as_ptr(), core::ptr::null_mut(), flags) }.cast()
    }
}

const ESTABLISHED: u32 = 1;
