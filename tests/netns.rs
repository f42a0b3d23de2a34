//! Tests of the whole in a world of pods. They need root; without it they say so and pass.

#[path = "netns/accelerate.rs"]
mod accelerate;
#[path = "netns/detect.rs"]
mod detect;
#[path = "netns/endurance.rs"]
mod endurance;
#[path = "netns/figures.rs"]
mod figures;
#[path = "netns/http.rs"]
mod http;
#[path = "netns/isolation.rs"]
mod isolation;
#[path = "netns/life.rs"]
mod life;
#[path = "netns/mesh.rs"]
mod mesh;
#[path = "netns/on_demand.rs"]
mod on_demand;
#[path = "netns/real.rs"]
mod real;
#[path = "netns/restart.rs"]
mod restart;
#[path = "netns/soak.rs"]
mod soak;
#[path = "netns/steer.rs"]
mod steer;
#[path = "netns/world.rs"]
mod world;

/// Builds a world, or ends the test with a line that says what it needs.
macro_rules! world_or_skip {
    ($($pod:expr),+ $(,)?) => {{
        if !harness::world::is_root() {
            eprintln!("skipped: needs root");
            return Ok(());
        }
        harness::world::World::build(&[$($pod),+])?
    }};
}
pub(crate) use world_or_skip;
