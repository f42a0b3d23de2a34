//! What the data path asks of the kernel: hidden ends, by socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::maps::{MapData, MapError, SkStorage};
use mesh_common::accelerate::Leg;
use mesh_common::flow::Hidden;

use crate::model::flow::{PodId, Steering};

/// Answers from the map of hidden ends.
#[derive(Debug)]
pub(crate) struct KernelSteering {
    // aya takes an exclusive borrow for what is one system call; held for that call only.
    hidden: Mutex<SkStorage<MapData, Hidden>>,
    /// `None`: nothing is accelerated.
    legs: Option<Mutex<SkStorage<MapData, Leg>>>,
}

impl KernelSteering {
    pub(crate) fn new(hidden: SkStorage<MapData, Hidden>, legs: Option<SkStorage<MapData, Leg>>) -> Self {
        Self { hidden: Mutex::new(hidden), legs: legs.map(Mutex::new) }
    }
}

impl KernelSteering {
    /// What lies with a socket, if anything does.
    pub(crate) fn hidden_end(&self, socket: BorrowedFd<'_>) -> Option<Hidden> {
        lock(&self.hidden).get(&socket, 0).ok()
    }
}

impl Steering for KernelSteering {
    fn original_destination(&self, pod: PodId, socket: BorrowedFd<'_>) -> Option<SocketAddr> {
        match lock(&self.hidden).get(&socket, 0) {
            Ok(hidden) => (hidden.pod == pod.0).then(|| hidden.socket_addr()),
            Err(_) => None,
        }
    }

    fn present_client(&self, socket: BorrowedFd<'_>, pod: PodId, client: SocketAddr) -> io::Result<()> {
        lock(&self.hidden).insert(&socket, Hidden::client(pod.0, client), 0).map_err(|error| match error {
            MapError::SyscallError(error) => error.io_error,
            error => io::Error::other(error),
        })
    }

    fn is_accelerated(&self, socket: BorrowedFd<'_>) -> bool {
        // Whatever else the kernel says, it has not said that the socket has none.
        self.legs.as_ref().is_some_and(|legs| !matches!(lock(legs).get(&socket, 0), Err(MapError::KeyNotFound)))
    }
}

fn lock<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic between two system calls leaves nothing half done.
    map.lock().unwrap_or_else(PoisonError::into_inner)
}
