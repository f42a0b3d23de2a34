//! What the data path needs to know of where a connection comes from, and what it asks of the kernel side.
//!
//! The traits are defined here, not where they are implemented, because the proxy must not depend on the kernel side: without
//! kernel programs it still proxies.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use socket2::{Domain, Socket};

use crate::model::workload::Workload;

/// Number of a workload's place on this node, as the kernel's maps know it. Never zero; not reused while the agent runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodId(pub u32);

/// Which way a steered connection goes, seen from the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The workload connected to somebody.
    Outbound,
    /// Somebody connected to the workload.
    Inbound,
}

/// A workload while it runs on this node: its configuration and its network namespace.
#[derive(Debug)]
pub struct Pod {
    /// Key of the pod in the kernel's maps.
    pub id: PodId,
    /// What the configuration says of it.
    pub workload: Workload,
    /// Its name in policies: `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT`.
    pub identity: Arc<str>,
    /// Where its sockets live.
    pub netns: Arc<dyn OpenSocket>,
}

/// Opens stream sockets in one network namespace.
pub trait OpenSocket: Send + Sync + std::fmt::Debug {
    /// A new, unconnected, non-blocking TCP socket in this namespace.
    ///
    /// # Errors
    /// What the kernel said: the namespace is gone, or descriptors are used up.
    fn tcp(&self, domain: Domain) -> io::Result<Socket>;
}

/// What the data path asks of the kernel programs' maps. Called on data threads: one or two `bpf` system calls, no waiting.
pub trait Steering: Send + Sync + std::fmt::Debug {
    /// Where the app wanted to go whose steered connection the agent accepted as `socket` at the outbound listener in `pod`.
    /// `None` for a connection that was not steered there, or whose origin got lost: it must be closed.
    fn original_destination(&self, pod: PodId, socket: BorrowedFd<'_>) -> Option<SocketAddr>;

    /// Makes the app that will accept `socket`'s connection in `pod` see `client` as its peer. To be called before `connect`.
    ///
    /// # Errors
    /// The map is full or gone. The connection may proceed; the app then sees the agent's address.
    fn present_client(&self, socket: BorrowedFd<'_>, pod: PodId, client: SocketAddr) -> io::Result<()>;

    /// Whether bytes may have come to this socket past TCP. `recv` finds those first; `splice(2)` does not know of them.
    fn is_accelerated(&self, socket: BorrowedFd<'_>) -> bool;
}
