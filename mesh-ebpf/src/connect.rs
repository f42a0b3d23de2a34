//! cgroup/connect4 and connect6: a workload's TCP connection goes to the agent's listener in its pod, or past the agent to an
//! endpoint of a service that needs no more than that.
//!
//! Runs before the kernel picks a route or a source port, once per `connect` on an unconnected socket, also from
//! `sendmsg(MSG_FASTOPEN)`. A second `connect` on a socket that is connecting does not come here.
//!
//! After steering, all of a pod's connections go to one loopback address and port. So the kernel keeps their source ports apart,
//! whatever their destinations: a pod has one range of ephemeral ports in all, not one for each destination, and the second of
//! two sockets that bound the same port gets `EADDRNOTAVAIL`. Ports in TIME_WAIT do not count: on loopback the kernel uses them
//! again after a second (`net.ipv4.tcp_tw_reuse`).

use aya_ebpf::programs::SockAddrContext;
use aya_log_ebpf::{info, warn};
use mesh_common::counter::Counter;
use mesh_common::decide::{Failure, Question, Verdict, Way, by_policy, decide};
use mesh_common::event::Watched;
use mesh_common::flow::{Addr, Family, Hidden, PortBe};
use mesh_common::kept::Kept;
use mesh_common::policy::{Asked, RuledKey};
use mesh_common::service::{Protocol, Service, ServiceKey, Target};
use mesh_common::workload::{ListenerKey, Workload};

use crate::agent;
use crate::context;
use crate::datagram;
use crate::emit::settle;
use crate::exclude::is_excluded;
use crate::policy::{self, Said};
use crate::report::now;
use crate::service;
use crate::socket::Socket;
use crate::source::{client, source};
use crate::watch;
use crate::who::{self, Who};

/// A connection of an IPv4 socket.
#[inline(always)]
pub(crate) fn connect4(ctx: &SockAddrContext) -> Option<Verdict> {
    // SAFETY: the context is valid while the program runs.
    let destination = Addr::v4(unsafe { (*ctx.sock_addr).user_ip4 });
    let rewrite = |to: Target| {
        // SAFETY: as above; this field may be written.
        unsafe { (*ctx.sock_addr).user_ip4 = to.addr.0[3] };
        // SAFETY: as above.
        unsafe { (*ctx.sock_addr).user_port = u32::from(to.port.0) };
    };
    match protocol(ctx, AF_INET)? {
        Protocol::Tcp => connect(ctx, destination, rewrite),
        Protocol::Udp => datagram::connect(ctx, destination, rewrite),
    }
}

/// A connection of an IPv6 socket, which may speak IPv4 to a mapped address.
#[inline(always)]
pub(crate) fn connect6(ctx: &SockAddrContext) -> Option<Verdict> {
    // SAFETY: the context is valid while the program runs.
    let destination = Addr(unsafe { context::load(&raw const (*ctx.sock_addr).user_ip6) });
    let rewrite = |to: Target| {
        // SAFETY: as above; this field may be written.
        unsafe { context::store(&raw mut (*ctx.sock_addr).user_ip6, to.addr.0) };
        // SAFETY: as above.
        unsafe { (*ctx.sock_addr).user_port = u32::from(to.port.0) };
    };
    match protocol(ctx, AF_INET6)? {
        Protocol::Tcp => connect(ctx, destination, rewrite),
        Protocol::Udp => datagram::connect(ctx, destination, rewrite),
    }
}

#[inline(always)]
fn connect(ctx: &SockAddrContext, destination: Addr, rewrite: impl FnOnce(Target)) -> Option<Verdict> {
    let workload = match who::connects(ctx) {
        Who::Other => return None,
        Who::Workload(workload) => workload,
        Who::Unclear(workload) => return Some(settle(workload, Way::Outbound, Err(Failure::NoConfig))),
    };
    // SAFETY: the context is valid while the program runs, and the field is its socket.
    let socket = unsafe { Socket::new((*ctx.sock_addr).__bindgen_anon_1.sk) }?;
    // SAFETY: as above. The port's two bytes are the first of the field.
    let port = PortBe(unsafe { (*ctx.sock_addr).user_port } as u16);
    let excluded = !destination.is_local() && is_excluded(destination, port);
    let key = ServiceKey::new(Protocol::Tcp, destination, port);
    let service = if excluded { None } else { service::find(&key) };
    let question = Question::Connect {
        destination,
        excluded,
        bound_to_device: socket.is_bound_to_device(),
        offer: service::offer(service),
    };
    let mut rule = (0, 0);
    let outcome = match (decide(workload, question), service) {
        (Verdict::Steer(family), _) => steer(workload, family, socket, destination, port),
        (Verdict::Direct(protocol), Some(service)) => {
            let said = may(workload, socket, destination, port);
            rule = said.rule();
            match by_policy(Verdict::Direct(protocol), said.judgement, Way::Outbound) {
                Ok(Verdict::Direct(_)) => direct(workload, socket, &key, service),
                outcome => outcome.map(|verdict| (verdict, None)),
            }
        }
        (verdict, _) => Ok((verdict, None)),
    };
    if let Ok((_, Some(to))) = outcome {
        rewrite(to);
    }
    let verdict = settle(workload, Way::Outbound, outcome.map(|(verdict, _)| verdict));
    report(ctx, workload, verdict, destination, port);
    watch::decided(socket, workload, verdict, (destination, port), rule);
    Some(verdict)
}

/// Asks the policy of a service, with the source that the agent would be told.
#[inline(always)]
fn may(workload: &Workload, socket: Socket, destination: Addr, port: PortBe) -> Said {
    let asked = || Asked { pod: workload.pod, source: source(workload, socket, destination), destination, port };
    policy::ask(asked, policy::of(&RuledKey::new(destination, port)))
}

/// What becomes of a connection, and where it goes if not to where the app said.
type Outcome = Result<(Verdict, Option<Target>), Failure>;

/// To the agent's listener. The destination is remembered with the socket.
#[inline(always)]
fn steer(workload: &Workload, family: Family, socket: Socket, destination: Addr, port: PortBe) -> Outcome {
    let listener = workload.outbound(family).ok_or(Failure::NoListener)?;
    agent::listens(&ListenerKey::new(workload.pod, family, listener))?;
    if socket.keep(Kept::hiding(Hidden::destination(workload.pod, destination, port))) {
        Ok((Verdict::Steer(family), Some(Target::new(Addr::loopback(family), listener))))
    } else {
        Err(Failure::NoMemory)
    }
}

/// To an endpoint of the service. The service is remembered with the socket: that is whom the app talks to. What goes past the agent is
/// watched.
#[inline(always)]
fn direct(workload: &Workload, socket: Socket, key: &ServiceKey, service: Service) -> Outcome {
    let target = service::choose(key, service, || client(workload, key.addr))?;
    if target.is_nowhere() {
        return Ok((Verdict::Deny(Counter::DeniedNoEndpoint), None));
    }
    let kept = Kept {
        hidden: Hidden::service(workload.pod, key.addr, key.port),
        watched: Watched::new(Way::Outbound, workload.pod, Counter::Direct, now()),
    };
    if socket.keep(kept) { Ok((Verdict::Direct(Protocol::Tcp), Some(target))) } else { Err(Failure::NoMemory) }
}

/// What the socket speaks, if that is something to the mesh.
#[inline(always)]
fn protocol(ctx: &SockAddrContext, family: u32) -> Option<Protocol> {
    // SAFETY: the context is valid while the program runs.
    let asked = unsafe { (*ctx.sock_addr).user_family };
    // SAFETY: as above.
    let kind = unsafe { (*ctx.sock_addr).type_ };
    // SAFETY: as above.
    let protocol = unsafe { (*ctx.sock_addr).protocol };
    match (asked == family, kind, protocol) {
        (true, SOCK_STREAM, IPPROTO_TCP) => Some(Protocol::Tcp),
        (true, SOCK_DGRAM, IPPROTO_UDP) => Some(Protocol::Udp),
        _ => None,
    }
}

/// For `--kernel-log`; without it the verifier removes every line of this.
#[inline(always)]
fn report(ctx: &SockAddrContext, workload: &Workload, verdict: Verdict, destination: Addr, port: PortBe) {
    match verdict {
        Verdict::Steer(_) => {
            info!(ctx, "pod {} to {:i} port {}: steered", workload.pod, destination.octets(), port.get())
        }
        Verdict::Direct(_) => {
            info!(ctx, "pod {} to {:i} port {}: to an endpoint", workload.pod, destination.octets(), port.get())
        }
        Verdict::Pass(why) => {
            info!(
                ctx,
                "pod {} to {:i} port {}: passed ({})",
                workload.pod,
                destination.octets(),
                port.get(),
                why.index()
            )
        }
        Verdict::Deny(_) => {
            warn!(ctx, "pod {} to {:i} port {}: denied", workload.pod, destination.octets(), port.get())
        }
    }
}

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;
