//! Tests of the whole in a world of pods. They need root; without it they say so and pass.

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
