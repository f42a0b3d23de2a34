//! Why the mesh could not start.

use crate::kernel::cgroup::CgroupError;
use crate::kernel::loader::KernelError;
use crate::kernel::maps::TableError;
use crate::kernel::pin::PinsError;
use crate::pod::netns::NetnsError;
use crate::pod::own_cgroup::OwnCgroupError;
use crate::pod::registry::RegistryError;
use crate::pod::sockets::SocketsError;

/// Why the mesh could not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// Workloads that can't be meshed.
    #[error("{}", lines(.0))]
    Workloads(Vec<RegistryError>),
    /// The agent's own namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// A pod's sockets.
    #[error(transparent)]
    Sockets(#[from] SocketsError),
    /// The cgroup file system.
    #[error(transparent)]
    Cgroups(#[from] CgroupError),
    /// The agent's own cgroup.
    #[error(transparent)]
    OwnCgroup(#[from] OwnCgroupError),
    /// The kernel programs.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// What keeps them there.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// The thread that tells the kernel that the agent lives.
    #[error("cannot start the thread that tells the kernel that the agent lives")]
    Pulse(#[source] std::io::Error),
    /// Their maps.
    #[error(transparent)]
    Tables(#[from] TableError),
    /// The thread that tells apps of endpoints that are gone.
    #[error("cannot start the thread that looks after connections whose endpoint is gone")]
    Evictions(#[source] std::io::Error),
    /// The thread that reads the programs' log.
    #[error("cannot start the thread that reads the kernel programs' log")]
    Log(#[source] std::io::Error),
    /// The thread that reads their events.
    #[error("cannot start the thread that reads the kernel programs' events")]
    Events(#[source] std::io::Error),
}

/// Errors, one to a line, each with its cause.
fn lines(errors: &[RegistryError]) -> String {
    let line = |error: &RegistryError| {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
        format!("{error}{}", cause.unwrap_or_default())
    };
    errors.iter().map(line).collect::<Vec<_>>().join("\n")
}
