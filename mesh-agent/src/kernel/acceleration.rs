//! Acceleration: the programs by which bytes go from socket to socket, and the map of these sockets.
//!
//! Off, none of them is loaded and the map has no room, unless an agent before had it on: its connections between apps need both
//! until they end.

use std::os::fd::{AsFd as _, BorrowedFd};

use aya::Ebpf;
use aya::maps::{MapData, SockHash};
use mesh_common::flow::FlowKey;
use mesh_common::names;

use crate::kernel::bpf;
use crate::kernel::loader::{KernelError, Pinning, attach, load_program, program};
use crate::kernel::maps::take;
use crate::kernel::pin::folder::Link;

/// The programs, loaded.
pub(crate) struct Acceleration {
    sockets: SockHash<MapData, FlowKey>,
}

impl Acceleration {
    pub(crate) fn load(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        for name in names::ACCELERATION_PROGRAMS {
            load_program(ebpf, name)?;
        }
        Ok(Self { sockets: take(ebpf, names::SOCKETS)? })
    }

    /// Attaches them. What enters sockets comes last: a socket keeps for good the programs that its map had when it came.
    pub(crate) fn attach(
        &self,
        ebpf: &mut Ebpf,
        cgroup: BorrowedFd<'_>,
        pinning: Pinning<'_>,
    ) -> Result<[Link; 2], KernelError> {
        let no_tls = attach(ebpf, names::NO_TLS, names::NO_TLS, cgroup, pinning)?;
        let refusal = |source| KernelError::Program { program: names::REDIRECT, source: Box::new(source) };
        let redirect = program(ebpf, names::REDIRECT)?.fd().map_err(refusal)?;
        // By aya, it would leave the map with the agent.
        bpf::attach_to_map(redirect.as_fd(), self.sockets.fd().as_fd(), SK_MSG_VERDICT)
            .map_err(|source| KernelError::Attach { program: names::REDIRECT, source })?;
        Ok([no_tls, attach(ebpf, names::PAIRING, names::PAIRING, cgroup, pinning)?])
    }
}

/// `enum bpf_attach_type`.
const SK_MSG_VERDICT: u32 = 7;
