//! Acceleration: the programs by which bytes go from socket to socket, and the map of these sockets.
//!
//! Off, none of them is loaded and the map has no room.

use std::fs::File;

use aya::Ebpf;
use aya::maps::{MapData, SockHash};
use aya::programs::SkMsg;
use mesh_common::flow::FlowKey;
use mesh_common::names;

use crate::kernel::loader::{KernelError, attach_to_cgroup, load_program, program};
use crate::kernel::maps::take;

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
    pub(crate) fn attach(&self, ebpf: &mut Ebpf, cgroup: &File) -> Result<(), KernelError> {
        attach_to_cgroup(ebpf, names::NO_TLS, cgroup)?;
        let refusal = |source| KernelError::Program { program: names::REDIRECT, source: Box::new(source) };
        let redirect: &mut SkMsg = program(ebpf, names::REDIRECT)?.try_into().map_err(refusal)?;
        redirect.attach(self.sockets.fd()).map_err(refusal)?;
        attach_to_cgroup(ebpf, names::PAIRING, cgroup)
    }
}
