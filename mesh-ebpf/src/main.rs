//! Entry points of the kernel programs, and the one place where a verdict becomes what the kernel understands.
//!
//! ```text
//! app's connect      -> connect4/6   who is this, decide, remember the hidden end with the socket, rewrite the address
//! UDP send, receive  -> send4/6, receive4/6  an endpoint for the service, the service for the endpoint
//! SYN-ACK, ACK       -> handshake    carry the hidden end over to the accepted socket; watch what goes past the agent
//! getpeername/accept -> peername4/6  show it
//! SYN from outside   -> inbound      decide, hand over to the agent's listener in this pod
//!
//! With acceleration:
//! SYN-ACK, ACK       -> pairing      enter both ends, if both are here
//! send               -> redirect     to the other end's socket, past TCP
//! setsockopt         -> no_tls       keep kernel TLS off such sockets
//! ```
#![no_std]
#![no_main]
#![allow(unsafe_code, reason = "the kernel's contexts and helpers are raw pointers; the verifier proves their use")]
#![allow(clippy::multiple_unsafe_ops_per_block, reason = "naming a field counts as one already")]
#![allow(clippy::needless_pass_by_value, reason = "entry points get the context by value")]

mod accelerate;
mod agent;
mod connect;
mod context;
mod datagram;
mod emit;
mod exclude;
mod handshake;
mod inbound;
mod leg;
mod maps;
mod peername;
mod policy;
mod redirect;
mod report;
mod service;
mod socket;
mod sockops;
mod source;
mod tls;
mod watch;
mod who;

use aya_ebpf::macros::{cgroup_sock_addr, cgroup_sockopt, sk_lookup, sk_msg, sock_ops};
use aya_ebpf::programs::{SkLookupContext, SkMsgContext, SockAddrContext, SockOpsContext, SockoptContext};
use mesh_common::decide::Verdict;

#[cgroup_sock_addr(connect4)]
fn connect4(ctx: SockAddrContext) -> i32 {
    cgroup_code(connect::connect4(&ctx))
}

#[cgroup_sock_addr(connect6)]
fn connect6(ctx: SockAddrContext) -> i32 {
    cgroup_code(connect::connect6(&ctx))
}

#[cgroup_sock_addr(sendmsg4)]
fn send4(ctx: SockAddrContext) -> i32 {
    cgroup_code(datagram::send4(&ctx))
}

#[cgroup_sock_addr(sendmsg6)]
fn send6(ctx: SockAddrContext) -> i32 {
    cgroup_code(datagram::send6(&ctx))
}

#[cgroup_sock_addr(recvmsg4)]
fn receive4(ctx: SockAddrContext) -> i32 {
    datagram::receive4(&ctx);
    GO_ON
}

#[cgroup_sock_addr(recvmsg6)]
fn receive6(ctx: SockAddrContext) -> i32 {
    datagram::receive6(&ctx);
    GO_ON
}

#[cgroup_sock_addr(getpeername4)]
fn peername4(ctx: SockAddrContext) -> i32 {
    peername::show4(&ctx);
    GO_ON
}

#[cgroup_sock_addr(getpeername6)]
fn peername6(ctx: SockAddrContext) -> i32 {
    peername::show6(&ctx);
    GO_ON
}

#[sock_ops]
fn handshake(ctx: SockOpsContext) -> u32 {
    sockops::observe(&ctx);
    GO_ON as u32
}

#[sock_ops]
fn pairing(ctx: SockOpsContext) -> u32 {
    accelerate::observe(&ctx);
    GO_ON as u32
}

#[sk_msg]
fn redirect(ctx: SkMsgContext) -> u32 {
    redirect::redirect(&ctx);
    GO_ON as u32
}

#[cgroup_sockopt(setsockopt)]
fn no_tls(ctx: SockoptContext) -> i32 {
    if tls::is_refused(&ctx) { REFUSE } else { GO_ON }
}

#[sk_lookup]
fn inbound(ctx: SkLookupContext) -> u32 {
    lookup_code(inbound::accept(&ctx))
}

const GO_ON: i32 = 1;
const REFUSE: i32 = 0;

/// A refused `connect` fails with `EPERM`. `None` is a connection that is nothing to the mesh.
#[inline(always)]
fn cgroup_code(verdict: Option<Verdict>) -> i32 {
    match verdict {
        Some(Verdict::Deny(_)) => REFUSE,
        None | Some(Verdict::Pass(_) | Verdict::Steer(_) | Verdict::Direct(_)) => GO_ON,
    }
}

/// A dropped packet looks to the client like a closed port.
#[inline(always)]
fn lookup_code(verdict: Option<Verdict>) -> u32 {
    cgroup_code(verdict) as u32
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

// Some helpers are for programs under a licence compatible with the GPL only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
