//! cgroup/connect, sendmsg and recvmsg for UDP: what a workload sends to a service of the kernel's own goes to an endpoint, and
//! the answer comes from the service.
//!
//! A flow is one socket and one service, connected or not: it keeps its endpoint as long as that is one. All other UDP passes.
//! Sends of one socket on several threads run at once. Two that each take a new place at the same moment may take the same one:
//! then one of the two flows is forgotten, and chosen anew by its next datagram.

use core::ptr;

use aya_ebpf::bindings::BPF_SK_STORAGE_GET_F_CREATE;
use aya_ebpf::helpers::generated::bpf_sk_storage_get;
use aya_ebpf::programs::SockAddrContext;
use mesh_common::counter::Counter;
use mesh_common::datagram::{Flow, Flows};
use mesh_common::decide::{Failure, Question, Verdict, Way, decide};
use mesh_common::flow::{Addr, Hidden, PortBe};
use mesh_common::kept::Kept;
use mesh_common::service::{Protocol, Service, ServiceKey, Target};
use mesh_common::workload::Workload;

use crate::context;
use crate::emit::{count, settle};
use crate::exclude::is_excluded;
use crate::maps::FLOWS;
use crate::service;
use crate::socket::Socket;
use crate::source::client;
use crate::who::{self, Who};

/// A datagram without a connection, from an IPv4 socket or in IPv4 from an IPv6 socket.
#[inline(always)]
pub(crate) fn send4(ctx: &SockAddrContext) -> Option<Verdict> {
    // SAFETY: the context is valid while the program runs.
    let destination = Addr::v4(unsafe { (*ctx.sock_addr).user_ip4 });
    let (verdict, _, to) = send(ctx, destination)?;
    if let Some(to) = to {
        // SAFETY: as above; this field may be written.
        unsafe { (*ctx.sock_addr).user_ip4 = to.addr.0[3] };
        // SAFETY: as above.
        unsafe { (*ctx.sock_addr).user_port = u32::from(to.port.0) };
    }
    Some(verdict)
}

/// A datagram without a connection, in IPv6.
#[inline(always)]
pub(crate) fn send6(ctx: &SockAddrContext) -> Option<Verdict> {
    // SAFETY: the context is valid while the program runs.
    let destination = Addr(unsafe { context::load(&raw const (*ctx.sock_addr).user_ip6) });
    let (verdict, _, to) = send(ctx, destination)?;
    if let Some(to) = to {
        // SAFETY: as above; this field may be written.
        unsafe { context::store(&raw mut (*ctx.sock_addr).user_ip6, to.addr.0) };
        // SAFETY: as above.
        unsafe { (*ctx.sock_addr).user_port = u32::from(to.port.0) };
    }
    Some(verdict)
}

/// A UDP socket connects. As for TCP, whom it asked for lies with it, to be shown.
#[inline(always)]
pub(crate) fn connect(ctx: &SockAddrContext, destination: Addr, rewrite: impl FnOnce(Target)) -> Option<Verdict> {
    let (verdict, pod, to) = send(ctx, destination)?;
    // SAFETY: the context is valid while the program runs, and the field is its socket.
    let socket = unsafe { Socket::new((*ctx.sock_addr).__bindgen_anon_1.sk) }?;
    match to {
        Some(to) => {
            // SAFETY: the context is valid while the program runs. The port's two bytes are the first of the field.
            let port = PortBe(unsafe { (*ctx.sock_addr).user_port } as u16);
            if !socket.keep(Kept::hiding(Hidden::service(pod, destination, port))) {
                // The flow is known all the same: what comes back shows the service, only getpeername does not.
                count(Counter::NoMemory);
            }
            rewrite(to);
        }
        None => socket.forget(),
    }
    Some(verdict)
}

/// What came for an IPv4 socket shows whom the socket had asked.
#[inline(always)]
pub(crate) fn receive4(ctx: &SockAddrContext) {
    // SAFETY: the context is valid while the program runs.
    let source = Addr::v4(unsafe { (*ctx.sock_addr).user_ip4 });
    let Some(service) = receive(ctx, source) else { return };
    // SAFETY: as above; this field may be written.
    unsafe { (*ctx.sock_addr).user_ip4 = service.addr.0[3] };
    // SAFETY: as above.
    unsafe { (*ctx.sock_addr).user_port = u32::from(service.port.0) };
}

/// The same for an IPv6 socket, which shows IPv4 addresses as mapped ones.
#[inline(always)]
pub(crate) fn receive6(ctx: &SockAddrContext) {
    // SAFETY: the context is valid while the program runs.
    let source = Addr(unsafe { context::load(&raw const (*ctx.sock_addr).user_ip6) });
    let Some(service) = receive(ctx, source) else { return };
    // SAFETY: as above; this field may be written.
    unsafe { context::store(&raw mut (*ctx.sock_addr).user_ip6, service.addr.0) };
    // SAFETY: as above.
    unsafe { (*ctx.sock_addr).user_port = u32::from(service.port.0) };
}

/// Decides where a datagram goes. `None`: its sender is nothing to the mesh. Also whose it is, and the endpoint if it has one.
#[inline(always)]
fn send(ctx: &SockAddrContext, destination: Addr) -> Option<(Verdict, u32, Option<Target>)> {
    let workload = match who::connects(ctx) {
        Who::Other => return None,
        // The agent sends nothing to services, so that this is the workload.
        Who::Workload(workload) | Who::Unclear(workload) => workload,
    };
    // SAFETY: the context is valid while the program runs, and the field is its socket.
    let socket = unsafe { Socket::new((*ctx.sock_addr).__bindgen_anon_1.sk) }?;
    // SAFETY: as above. The port's two bytes are the first of the field.
    let port = PortBe(unsafe { (*ctx.sock_addr).user_port } as u16);
    let key = ServiceKey::new(Protocol::Udp, destination, port);
    let service = service::find(&key);
    let question = Question::Send {
        destination,
        excluded: service.is_some() && is_excluded(destination, port),
        bound_to_device: socket.is_bound_to_device(),
        offer: service::offer(service),
    };
    let outcome = match (decide(workload, question), service) {
        (Verdict::Direct(protocol), Some(service)) => endpoint(workload, socket, &key, service).map(|to| {
            if to.is_nowhere() {
                (Verdict::Deny(Counter::DatagramsDenied), None)
            } else {
                (Verdict::Direct(protocol), Some(to))
            }
        }),
        (verdict, _) => Ok((verdict, None)),
    };
    let to = outcome.as_ref().ok().and_then(|(_, to)| *to);
    Some((settle(workload, Way::Outbound, outcome.map(|(verdict, _)| verdict)), workload.pod, to))
}

/// The endpoint of the socket's flow to the service: the one it has, if that is still one, or a new one.
#[inline(always)]
fn endpoint(workload: &Workload, socket: Socket, key: &ServiceKey, service: Service) -> Result<Target, Failure> {
    let flows = socket.flows().ok_or(Failure::NoMemory)?;
    if let Some(flow) = flows.to(key).and_then(|place| flows.flows.get_mut(place)) {
        let target = flow.target();
        if flow.set == service.set {
            return Ok(target);
        }
        if service::is_member(service, &target) {
            flow.set = service.set;
            return Ok(target);
        }
        flow.end();
    }
    let target = service::choose(key, service, || client(workload, key.addr))?;
    let place = flows.take_place();
    if let Some(flow) = flows.flows.get_mut(place) {
        if flow.is_live() {
            count(Counter::FlowsForgotten);
        }
        *flow = Flow::new(key, &target, service.set);
    }
    Ok(target)
}

#[inline(always)]
fn receive(ctx: &SockAddrContext, source: Addr) -> Option<Target> {
    // SAFETY: the context is valid while the program runs, and the field is its socket.
    let socket = unsafe { Socket::new((*ctx.sock_addr).__bindgen_anon_1.sk) }?;
    // SAFETY: as above. The port's two bytes are the first of the field.
    let port = PortBe(unsafe { (*ctx.sock_addr).user_port } as u16);
    let place = socket.flows_place(0);
    // SAFETY: null, or the socket's storage, which lives as long as the socket.
    unsafe { place.as_ref() }?.from(&Target::new(source, port))
}

impl Socket {
    /// Its flows. `None` if there is no memory for them. New storage is all zeros, which is no flow.
    #[inline(always)]
    fn flows<'a>(self) -> Option<&'a mut Flows> {
        let place = self.flows_place(BPF_SK_STORAGE_GET_F_CREATE.into());
        // SAFETY: null, or the socket's storage, which lives as long as the socket. Programs that run at once for one socket see
        // each other's writes, as the head of this file says.
        unsafe { place.as_mut() }
    }

    #[inline(always)]
    fn flows_place(self, flags: u64) -> *mut Flows {
        let map = (&raw const FLOWS).cast_mut().cast();
        // SAFETY: map and socket are what the helper asks for; it answers null or a place of the map's value type.
        unsafe { bpf_sk_storage_get(map, self.as_ptr(), ptr::null_mut(), flags) }.cast()
    }
}
