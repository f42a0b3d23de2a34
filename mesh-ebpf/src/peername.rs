//! cgroup/getpeername4 and 6: the app sees whom it talks to, not the agent. `accept` runs this hook too.
//!
//! `getsockname` is left alone: the app sees the loopback address its connection really has.

use aya_ebpf::programs::SockAddrContext;
use mesh_common::flow::Hidden;

use crate::context;
use crate::socket::Socket;

/// For an IPv4 socket, which can show IPv4 addresses only.
#[inline(always)]
pub(crate) fn show4(ctx: &SockAddrContext) {
    let Some(hidden) = hidden_end(ctx) else { return };
    if let Some(v4) = hidden.addr.as_v4() {
        // SAFETY: the context is valid while the program runs; this field may be written.
        unsafe { (*ctx.sock_addr).user_ip4 = v4 };
        // SAFETY: as above.
        unsafe { (*ctx.sock_addr).user_port = u32::from(hidden.port.0) };
    }
}

/// For an IPv6 socket, which shows IPv4 addresses as mapped ones.
#[inline(always)]
pub(crate) fn show6(ctx: &SockAddrContext) {
    let Some(hidden) = hidden_end(ctx) else { return };
    // SAFETY: the context is valid while the program runs; this field may be written.
    unsafe { context::store(&raw mut (*ctx.sock_addr).user_ip6, hidden.addr.0) };
    // SAFETY: as above.
    unsafe { (*ctx.sock_addr).user_port = u32::from(hidden.port.0) };
}

#[inline(always)]
fn hidden_end(ctx: &SockAddrContext) -> Option<Hidden> {
    // SAFETY: the context is valid while the program runs, and the field is its socket.
    let socket = unsafe { Socket::new((*ctx.sock_addr).__bindgen_anon_1.sk) }?;
    socket.hidden().filter(Hidden::is_shown)
}
