//! What the data path asks of the kernel: what lies with a socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::maps::{MapData, MapError, SkStorage};
use mesh_common::accelerate::Leg;
use mesh_common::event::Watched;
use mesh_common::flow::Hidden;
use mesh_common::kept::Kept;

use crate::model::flow::{PodId, Steering};

/// Answers from what lies with sockets.
#[derive(Debug)]
pub(crate) struct KernelSteering {
    // aya takes an exclusive borrow for what is one system call; held for that call only.
    kept: Mutex<SkStorage<MapData, Kept>>,
    /// `None`: nothing is accelerated.
    legs: Option<Mutex<SkStorage<MapData, Leg>>>,
}

impl KernelSteering {
    pub(crate) fn new(kept: SkStorage<MapData, Kept>, legs: Option<SkStorage<MapData, Leg>>) -> Self {
        Self { kept: Mutex::new(kept), legs: legs.map(Mutex::new) }
    }
}

impl KernelSteering {
    /// The end that a socket hides, if it hides one.
    pub(crate) fn hidden_end(&self, socket: BorrowedFd<'_>) -> Option<Hidden> {
        lock(&self.kept).get(&socket, 0).ok()?.hidden()
    }

    /// Marks a listener as the agent's: what is accepted from it is the agent's to measure.
    ///
    /// The kernel has no other way to tell the agent's sockets in a pod's namespace from the app's: a steered connection's socket has
    /// the app's address and port. An accepted socket inherits the mark of its listener before any program sees it.
    ///
    /// # Errors
    /// Those of the system call. Without its mark a listener works all the same; its connections are measured twice.
    pub(crate) fn mark(&self, listener: BorrowedFd<'_>) -> io::Result<()> {
        lock(&self.kept).insert(&listener, Kept::watching(Watched::agent()), 0).map_err(io_error)
    }
}

impl Steering for KernelSteering {
    fn original_destination(&self, pod: PodId, socket: BorrowedFd<'_>) -> Option<SocketAddr> {
        self.hidden_end(socket).filter(|hidden| hidden.pod == pod.0).map(|hidden| hidden.socket_addr())
    }

    fn present_client(&self, socket: BorrowedFd<'_>, pod: PodId, client: SocketAddr) -> io::Result<()> {
        lock(&self.kept).insert(&socket, Kept::hiding(Hidden::client(pod.0, client)), 0).map_err(io_error)
    }

    fn is_accelerated(&self, socket: BorrowedFd<'_>) -> bool {
        // Whatever else the kernel says, it has not said that the socket has none.
        self.legs.as_ref().is_some_and(|legs| !matches!(lock(legs).get(&socket, 0), Err(MapError::KeyNotFound)))
    }
}

fn io_error(error: MapError) -> io::Error {
    match error {
        MapError::SyscallError(error) => error.io_error,
        error => io::Error::other(error),
    }
}

fn lock<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic between two system calls leaves nothing half done.
    map.lock().unwrap_or_else(PoisonError::into_inner)
}
