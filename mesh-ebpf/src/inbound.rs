//! sk_lookup: a connection that comes in to a pod goes to the agent's listener there, at whatever address and port.
//!
//! The accepted socket keeps the address the client asked for as its own: that is the original destination. The listeners of
//! all data workers are one `SO_REUSEPORT` group, of which one lies in the map; the kernel chooses within the group.

use aya_ebpf::programs::SkLookupContext;
use aya_log_ebpf::{info, warn};
use mesh_common::counter::Counter;
use mesh_common::decide::{Failure, Question, Verdict, Way, by_policy, decide};
use mesh_common::event::{Event, Kind};
use mesh_common::flow::{Addr, Family, PortBe};
use mesh_common::policy::{Asked, RuledKey};
use mesh_common::workload::Workload;

use crate::agent;
use crate::context;
use crate::emit::settle;
use crate::exclude::{is_claimed, is_excluded};
use crate::maps::{LISTENERS, POD};
use crate::policy;
use crate::report::{now, report_refusal};

/// Decides on a packet that found no established connection.
#[inline(always)]
pub(crate) fn accept(ctx: &SkLookupContext) -> Option<Verdict> {
    // SAFETY: the context is valid while the program runs.
    if unsafe { (*ctx.lookup).protocol } != IPPROTO_TCP {
        return None;
    }
    let pod = POD.load();
    let (client, destination) = addresses(ctx);
    // SAFETY: as above.
    let port = PortBe::new(unsafe { (*ctx.lookup).local_port } as u16);
    let question =
        Question::Accept { client, destination, excluded: is_excluded(destination, port), claimed: is_claimed(port) };
    let mut rule = (0, 0);
    let outcome = match decide(&pod, question) {
        Verdict::Steer(family) => hand_over(ctx, &pod, family),
        // What the agent would bring to the app as it is needs its policy all the same.
        verdict @ Verdict::Pass(Counter::InboundUnclaimed) => {
            let asked = || Asked { pod: 0, source: client, destination, port };
            // A listener for any address has one policy for all, also for those that nobody wrote down.
            let any = || policy::of(&RuledKey::new(Addr::any(destination.family()), port));
            let said = policy::ask(asked, policy::of(&RuledKey::new(destination, port)).or_else(any));
            rule = said.rule();
            by_policy(verdict, said.judgement, Way::Inbound)
        }
        verdict => Ok(verdict),
    };
    let verdict = settle(&pod, Way::Inbound, outcome);
    match verdict {
        Verdict::Steer(_) => info!(ctx, "pod {} from {:i} port {}: steered", pod.pod, client.octets(), port.get()),
        // Never the answer to what comes in.
        Verdict::Direct(_) => {}
        Verdict::Pass(why) => {
            info!(ctx, "pod {} from {:i} port {}: passed ({})", pod.pod, client.octets(), port.get(), why.index())
        }
        Verdict::Deny(why) => {
            warn!(ctx, "pod {} from {:i} port {}: denied", pod.pod, client.octets(), port.get());
            let mut event = Event::new(Kind::Denied, Way::Inbound, pod.pod, why);
            (event.at, event.since) = (now(), now());
            // SAFETY: the context is valid while the program runs.
            event.remote_port = PortBe(unsafe { (*ctx.lookup).remote_port });
            (event.remote, event.local, event.local_port) = (client, destination, port);
            (event.asked, event.asked_port) = (destination, port);
            (event.set, event.rule) = rule;
            report_refusal(event, Counter::EventsLostInbound);
        }
    }
    Some(verdict)
}

/// To the agent's listener, if the agent is there.
#[inline(always)]
fn hand_over(ctx: &SkLookupContext, pod: &Workload, family: Family) -> Result<Verdict, Failure> {
    // It has outbound listeners of the same families as inbound ones.
    pod.outbound(family).ok_or(Failure::NoListener)?;
    agent::lives()?;
    match LISTENERS.redirect_sk_lookup(ctx, family.slot(), 0) {
        Ok(()) => Ok(Verdict::Steer(family)),
        Err(NOT_THERE) => Err(Failure::AgentGone),
        Err(_) => Err(Failure::NoListener),
    }
}

/// Client and destination.
#[inline(always)]
fn addresses(ctx: &SkLookupContext) -> (Addr, Addr) {
    // SAFETY: the context is valid while the program runs.
    if unsafe { (*ctx.lookup).family } == AF_INET6 {
        // SAFETY: as above.
        let client = unsafe { context::load(&raw const (*ctx.lookup).remote_ip6) };
        // SAFETY: as above.
        (Addr(client), Addr(unsafe { context::load(&raw const (*ctx.lookup).local_ip6) }))
    } else {
        // SAFETY: as above.
        let client = unsafe { (*ctx.lookup).remote_ip4 };
        // SAFETY: as above.
        (Addr::v4(client), Addr::v4(unsafe { (*ctx.lookup).local_ip4 }))
    }
}

const AF_INET6: u32 = 10;
const IPPROTO_TCP: u32 = 6;
/// What aya answers for an empty place of a map (`-ENOENT`).
const NOT_THERE: i32 = -2;
