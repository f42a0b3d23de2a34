//! Workloads while they run on this node: their namespaces, cgroups and the sockets the agent holds inside them.
//!
//! [`Mesh`] is all the rest of the agent sees: started with the configured workloads, it has the kernel programs attached, one
//! listening socket per pod, direction, address family and data worker, and the answers to what the data path asks of the
//! kernel. Dropping it detaches everything.

mod mesh;

pub use mesh::{Mesh, MeshError, Options, PodListener};
