//! The kernel side: load, attach and feed the programs of mesh-ebpf.
//!
//! ```text
//! loader   programs into the kernel, onto the root of the cgroups and into each pod's namespace
//! plan     what the maps should say -> the operations that make it so (pure)
//! services the same for services of the kernel's own (service_maps, alias: how a choice is written; batch: many at once)
//! sync     applies them, tries again, reports drift      maps: the typed maps behind a trait, real and fake
//! steering what the data path asks                       counters, log: what the programs tell
//! pin      what outlives the agent, and its removal      cgroup, bpffs: the two file systems all this lives in
//! outbound, pulse: by what the kernel knows that the agent is there
//! events   the ring of what the programs report
//! acceleration bytes from socket to socket, if it is on  selftest: whether apps would notice
//! levels, runs: how full the maps are, what the programs cost
//! probe    what this kernel can do, by trying             query: what others have attached
//! ```
//!
//! The only module that knows aya.

pub(crate) mod acceleration;
mod alias;
mod batch;
mod bpf;
pub(crate) mod bpffs;
pub(crate) mod capability;
pub(crate) mod cgroup;
mod claims;
pub(crate) mod counters;
pub(crate) mod direct;
pub(crate) mod events;
pub(crate) mod levels;
pub(crate) mod loader;
pub(crate) mod log;
pub(crate) mod maps;
pub(crate) mod outbound;
pub mod pin;
pub(crate) mod plan;
pub(crate) mod policy;
pub mod probe;
pub(crate) mod pulse;
mod query;
pub(crate) mod runs;
pub mod selftest;
pub(crate) mod service_maps;
pub(crate) mod services;
pub(crate) mod set;
pub(crate) mod steering;
pub(crate) mod sync;

pub use cgroup::CgroupError;
pub use loader::KernelError;
pub use maps::TableError;
pub use services::Limits;
