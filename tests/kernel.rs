//! The kernel side by itself: the programs, their maps and the sockets in the pods, with no proxy behind them. Needs root;
//! without it the tests say so and pass.
//!
//! The test process stands where the agent would: it holds a [`Mesh`], accepts what is steered, and notes what it was told.
//! The apps are `mesh-peer` processes in the pods' namespaces and cgroups.

#[path = "kernel/client.rs"]
mod client;
#[path = "kernel/command.rs"]
mod command;
#[path = "kernel/events.rs"]
mod events;
#[path = "kernel/evict.rs"]
mod evict;
#[path = "kernel/failure.rs"]
mod failure;
#[path = "kernel/inbound.rs"]
mod inbound;
#[path = "kernel/life.rs"]
mod life;
#[path = "kernel/odd.rs"]
mod odd;
#[path = "kernel/outbound.rs"]
mod outbound;
#[path = "kernel/policy.rs"]
mod policy;
#[path = "kernel/rig.rs"]
mod rig;
#[path = "kernel/service.rs"]
mod service;
#[path = "kernel/udp.rs"]
mod udp;

/// A [`rig::Rig`] with these pods, or the end of the test with a line that says what it needs.
macro_rules! rig_or_skip {
    ($($pod:expr),+ $(,)?) => {
        rig_or_skip!(with |_: &mut mesh_agent::model::config::Mesh| {}; $($pod),+)
    };
    (with $change:expr; $($pod:expr),+ $(,)?) => {{
        if !harness::world::is_root() {
            eprintln!("skipped: needs root");
            return Ok(());
        }
        $crate::rig::Rig::start(&[$($pod),+], $change)?
    }};
}
pub(crate) use rig_or_skip;
