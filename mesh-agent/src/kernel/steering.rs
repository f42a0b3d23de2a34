//! What the data path asks of the kernel: hidden ends, by socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Mutex;

use aya::maps::{MapData, MapError, SkStorage};
use mesh_common::flow::Hidden;

use crate::model::flow::{PodId, Steering};

/// Answers from the map of hidden ends.
#[derive(Debug)]
pub(crate) struct KernelSteering {
    // aya takes an exclusive borrow for what is one system call; held for that call only.
    hidden: Mutex<SkStorage<MapData, Hidden>>,
}

impl KernelSteering {
    pub(crate) fn new(hidden: SkStorage<MapData, Hidden>) -> Self {
        Self { hidden: Mutex::new(hidden) }
    }

    fn with<R>(&self, work: impl FnOnce(&mut SkStorage<MapData, Hidden>) -> R) -> R {
        // A panic between two system calls leaves nothing half done.
        work(&mut self.hidden.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Steering for KernelSteering {
    fn original_destination(&self, pod: PodId, socket: BorrowedFd<'_>) -> Option<SocketAddr> {
        match self.with(|map| map.get(&socket, 0)) {
            Ok(hidden) => (hidden.pod == pod.0).then(|| hidden.socket_addr()),
            Err(_) => None,
        }
    }

    fn present_client(&self, socket: BorrowedFd<'_>, pod: PodId, client: SocketAddr) -> io::Result<()> {
        self.with(|map| map.insert(&socket, Hidden::client(pod.0, client), 0)).map_err(|error| match error {
            MapError::SyscallError(error) => error.io_error,
            error => io::Error::other(error),
        })
    }
}
