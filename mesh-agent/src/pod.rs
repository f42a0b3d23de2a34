//! Workloads while they run on this node: their namespaces, cgroups and the sockets the agent holds inside them.
//!
//! [`Mesh`] is all the rest of the agent sees: started with the configured workloads, it has the kernel programs attached, one
//! listening socket per pod, direction, address family and data worker, and the answers to what the data path asks of the
//! kernel. Dropping it detaches everything.

mod evict;
mod mesh;
mod netns;
mod own_cgroup;
mod policies;
mod registry;
mod seeker;
mod sockets;

pub use mesh::{Mesh, MeshError, Options, PodListener};
pub use netns::NetnsError;
pub use own_cgroup::OwnCgroupError;
pub use registry::RegistryError;
pub use sockets::SocketsError;

pub use crate::kernel::Limits;
