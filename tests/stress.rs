//! Many connections at once with seeded random data, sizes, pauses and ends, through every tier, with acceleration and without: each byte
//! is compared where it arrives. Needs root; without it the tests say so and pass.
//!
//! `MESH_STRESS_CONNECTIONS` and `MESH_STRESS_MEGABYTES` say how much each of the scenarios does, `MESH_STRESS_SEED` which; what fails
//! names its seed. The ordinary suite does little.

#[path = "stress/client.rs"]
mod client;
#[path = "stress/plan.rs"]
mod plan;
#[path = "stress/scenario.rs"]
mod scenario;
#[path = "stress/server.rs"]
mod server;
#[path = "stress/stream.rs"]
mod stream;

use scenario::{Tier, run};

#[test]
fn t1() -> anyhow::Result<()> {
    run(Tier::T1, "off")
}

#[test]
fn t1_accelerated() -> anyhow::Result<()> {
    run(Tier::T1, "on")
}

#[test]
fn t2() -> anyhow::Result<()> {
    run(Tier::T2, "off")
}

#[test]
fn t2_accelerated() -> anyhow::Result<()> {
    run(Tier::T2, "on")
}

#[test]
fn t3() -> anyhow::Result<()> {
    run(Tier::T3, "off")
}

#[test]
fn t3_accelerated() -> anyhow::Result<()> {
    run(Tier::T3, "on")
}
