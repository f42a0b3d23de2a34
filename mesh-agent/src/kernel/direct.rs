//! Sockets that the kernel sent to an endpoint: which service led one there, and which endpoint stands for it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};

use aya::maps::{MapData, SkStorage};
use mesh_common::datagram::Flows;
use mesh_common::flow::{Hidden, PortBe};
use mesh_common::names;
use mesh_common::service::{Protocol, ServiceKey};

use crate::kernel::alias::target;
use crate::kernel::maps::refused;
use crate::kernel::steering::KernelSteering;
use crate::model::flow::PodId;

/// What lies with such sockets.
#[derive(Debug)]
pub(crate) struct DirectSockets {
    hidden: Arc<KernelSteering>,
    flows: Mutex<SkStorage<MapData, Flows>>,
}

impl DirectSockets {
    pub(crate) fn new(hidden: Arc<KernelSteering>, flows: SkStorage<MapData, Flows>) -> Self {
        Self { hidden, flows: Mutex::new(flows) }
    }

    /// The service that a connected socket asked for, if the kernel chose an endpoint for it, and whose socket it is.
    pub(crate) fn service_of(&self, socket: BorrowedFd<'_>) -> Option<(SocketAddr, PodId)> {
        let hidden = self.hidden.hidden_end(socket).filter(Hidden::is_direct)?;
        Some((hidden.socket_addr(), PodId(hidden.pod)))
    }

    /// Lets another endpoint stand for a UDP socket's service.
    pub(crate) fn point(&self, socket: BorrowedFd<'_>, service: SocketAddr, endpoint: SocketAddr) -> io::Result<()> {
        let mut map = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |error| io::Error::other(refused(names::FLOWS)(error));
        let mut flows = map.get(&socket, 0).map_err(failed)?;
        let key = ServiceKey::new(Protocol::Udp, service.ip().into(), PortBe::new(service.port()));
        flows.point(&key, &target(endpoint));
        map.insert(&socket, flows, 0).map_err(failed)
    }
}
