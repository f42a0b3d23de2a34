//! Connections that go past the agent, measured where they are: opened, closed, now and then how far they are.
//!
//! What the agent carries it measures itself, and nobody pays twice: of a steered connection no socket is watched. `connect` says
//! which sockets are; what comes in to a workload is watched unless its socket is the agent's, which it inherits from the
//! listener it was accepted from.
//!
//! The numbers of a connection that goes on are reported when its round trip is measured, which happens once a round trip while
//! it sends. There is no timer, so what is silent costs nothing; what only receives is reported when it closes.

use aya_ebpf::bindings::{BPF_SOCK_OPS_RTT_CB_FLAG, BPF_SOCK_OPS_STATE_CB_FLAG};
use aya_ebpf::programs::SockOpsContext;
use mesh_common::config::REPORT_EVERY;
use mesh_common::counter::Counter;
use mesh_common::decide::{Verdict, Way};
use mesh_common::event::{Event, Kind, Raw, Watched, state};
use mesh_common::flow::{Addr, PortBe};
use mesh_common::kept::Kept;
use mesh_common::workload::Workload;

use crate::emit::count;
use crate::exclude::is_excluded;
use crate::leg;
use crate::report::{now, report, report_refusal};
use crate::socket::Socket;
use crate::sockops::{ask_for, ends, socket};

/// A `connect` was decided: begins to watch what passes, or ends what an earlier attempt of it has left.
#[inline(always)]
pub(crate) fn decided(
    socket: Socket,
    workload: &Workload,
    verdict: Verdict,
    (destination, port): (Addr, PortBe),
    (set, rule): (u32, u32),
) {
    match verdict {
        // What was laid there says all.
        Verdict::Steer(_) | Verdict::Direct(_) => {}
        Verdict::Pass(Counter::PassedLocal) => socket.forget(),
        Verdict::Pass(why) => {
            if !socket.keep(Kept::watching(Watched::new(Way::Outbound, workload.pod, why, now()))) {
                count(Counter::Unwatched);
            }
        }
        Verdict::Deny(why) => {
            socket.forget();
            let mut event = Event::new(Kind::Denied, Way::Outbound, workload.pod, why);
            (event.at, event.since) = (now(), now());
            (event.asked, event.asked_port) = (destination, port);
            (event.remote, event.remote_port) = (destination, port);
            (event.set, event.rule) = (set, rule);
            report_refusal(event, Counter::EventsLostConnect);
        }
    }
}

/// Before the SYN: a connection that is never made shall be told of, too.
#[inline(always)]
pub(crate) fn connecting(ctx: &SockOpsContext) {
    if socket(ctx).and_then(Socket::kept).is_some_and(|kept| kept.watched.is_watched()) {
        ask_for(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
    }
}

/// The SYN-ACK is here.
#[inline(always)]
pub(crate) fn connected(ctx: &SockOpsContext, kept: &mut Kept) {
    kept.watched.establish();
    opened(ctx, kept);
}

/// A connection came in that nothing is known of: it passed the inbound program, or that program's pod has none.
#[inline(always)]
pub(crate) fn accepted(ctx: &SockOpsContext, socket: Socket, workload: &Workload) {
    let ((local, port), (remote, _)) = ends(ctx);
    if workload.is_by_cgroup() || local == remote || local.is_local() || remote.is_local() {
        return;
    }
    let why = if is_excluded(local, port) { Counter::InboundExcluded } else { Counter::InboundUnclaimed };
    let mut kept = Kept::watching(Watched::new(Way::Inbound, workload.pod, why, now()));
    kept.watched.establish();
    if socket.keep(kept) {
        opened(ctx, &kept);
    } else {
        count(Counter::Unwatched);
    }
}

/// A round trip was measured.
#[inline(always)]
pub(crate) fn measured(ctx: &SockOpsContext) {
    let Some(kept) = socket(ctx).and_then(Socket::kept) else { return };
    let now = now();
    if kept.watched.is_watched() && now.wrapping_sub(kept.watched.reported) >= REPORT_EVERY {
        kept.watched.reported = now;
        // SAFETY: the context is valid while the program runs.
        let state = unsafe { (*ctx.ops).state };
        report_numbers(ctx, kept, Kind::Ongoing, state);
    }
}

/// A watched socket goes from one state to another.
#[inline(always)]
pub(crate) fn changed(ctx: &SockOpsContext, kept: &mut Kept, from: u32, to: u32) {
    match to {
        state::FIN_WAIT2 => kept.watched.received_before = raw(ctx, &kept.watched).received,
        state::CLOSE => {
            let kind = kept.watched.end(from, &raw(ctx, &kept.watched));
            report_numbers(ctx, kept, kind, from);
            kept.watched = Watched::NOT;
        }
        _ => {}
    }
}

#[inline(always)]
fn opened(ctx: &SockOpsContext, kept: &Kept) {
    ask_for(ctx, BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RTT_CB_FLAG);
    report_numbers(ctx, kept, Kind::Opened, ESTABLISHED);
}

#[inline(always)]
fn report_numbers(ctx: &SockOpsContext, kept: &Kept, kind: Kind, state: u32) {
    let watched = &kept.watched;
    let mut event = Event::of(kind, watched);
    event.at = now();
    let (local, remote) = ends(ctx);
    (event.local, event.local_port) = local;
    (event.remote, event.remote_port) = remote;
    (event.asked, event.asked_port) = match (watched.way(), kept.hidden()) {
        (Way::Inbound, _) => local,
        (Way::Outbound, Some(hidden)) => (hidden.addr, hidden.port),
        (Way::Outbound, None) => remote,
    };
    (event.sent, event.received) = raw(ctx, watched).payload(watched.way(), state);
    // A connection that begins has sent nothing past TCP.
    if !matches!(kind, Kind::Opened)
        && let Some(socket) = socket(ctx)
        // SAFETY: the pointer is the context's socket, which is locked.
        && let Some((sent, received)) = unsafe { leg::past_tcp(socket.as_ptr()) }
    {
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

const ESTABLISHED: u32 = 1;
