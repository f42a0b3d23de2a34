//! Acceleration: the programs by which bytes go from socket to socket, and the map of these sockets.
//!
//! Off, none of them is loaded and the map has no room, unless an agent before had it on: its connections between apps need both
//! until they end.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use aya::Ebpf;
use aya::maps::{Map, MapData, MapError, SockHash};
use mesh_common::flow::FlowKey;
use mesh_common::names;

use crate::kernel::bpf;
use crate::kernel::loader::{KernelError, Pinning, attach, load_program, program};
use crate::kernel::maps::{TableError, refused, take};
use crate::kernel::pin::folder::Link;
use crate::kernel::query;

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

    /// The map once more, and how many sockets it has room for.
    pub(crate) fn sockets(&self) -> Result<(SockHash<MapData, FlowKey>, u32), TableError> {
        let again = self.sockets.fd().as_fd().try_clone_to_owned().map_err(MapError::IoError);
        let again = again.and_then(MapData::from_fd).map_err(refused(names::SOCKETS))?;
        let bound = again.info().map_err(refused(names::SOCKETS))?.max_entries();
        Ok((Map::SockHash(again).try_into().map_err(refused(names::SOCKETS))?, bound))
    }

    /// Attaches them. What enters sockets comes last: a socket keeps for good the programs that its map had when it came.
    pub(crate) fn attach(
        &self,
        ebpf: &mut Ebpf,
        cgroup: BorrowedFd<'_>,
        pinning: Pinning<'_>,
    ) -> Result<[Link; 2], KernelError> {
        let no_tls = attach(ebpf, names::NO_TLS, names::NO_TLS, cgroup, pinning)?;
        self.attach_to_sockets(ebpf)?;
        Ok([no_tls, attach(ebpf, names::PAIRING, names::PAIRING, cgroup, pinning)?])
    }

    /// The same for as long as the answer lives, for the self-test.
    pub(crate) fn attach_for_now(&self, ebpf: &mut Ebpf, cgroup: BorrowedFd<'_>) -> Result<[OwnedFd; 2], KernelError> {
        let no_tls = link(ebpf, names::NO_TLS, cgroup)?;
        self.attach_to_sockets(ebpf)?;
        Ok([no_tls, link(ebpf, names::PAIRING, cgroup)?])
    }

    /// By aya, it would leave the map with the agent.
    fn attach_to_sockets(&self, ebpf: &mut Ebpf) -> Result<(), KernelError> {
        bpf::attach_to_map(loaded(ebpf, names::REDIRECT)?, self.sockets.fd().as_fd(), SK_MSG_VERDICT)
            .map_err(|source| KernelError::Attach { program: names::REDIRECT, source })
    }
}

fn link(ebpf: &mut Ebpf, name: &'static str, cgroup: BorrowedFd<'_>) -> Result<OwnedFd, KernelError> {
    let hook = query::hook_of(name).ok_or(KernelError::NoSuchProgram { program: name })?;
    let linked = bpf::link(loaded(ebpf, name)?, cgroup, hook);
    linked.map_err(|source| KernelError::Attach { program: name, source })
}

fn loaded<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<BorrowedFd<'a>, KernelError> {
    let fd = program(ebpf, name)?.fd();
    fd.map(|fd| fd.as_fd()).map_err(|source| KernelError::Program { program: name, source: Box::new(source) })
}

/// `enum bpf_attach_type`.
const SK_MSG_VERDICT: u32 = 7;
