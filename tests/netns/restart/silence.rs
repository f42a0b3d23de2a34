//! An agent that hangs: its sockets are open, and nobody accepts.

use crate::restart::load::{End, attempt};
use crate::restart::{Scene, count, wait_for};
use crate::world_or_skip;

#[test]
fn an_agent_that_hangs_counts_as_dead_until_it_goes_on() -> anyhow::Result<()> {
    for (mode, meanwhile, counter) in
        [("permissive", End::Answered, "passed_no_agent"), ("enforce", End::Denied, "denied_no_agent")]
    {
        let world = world_or_skip!("client", "server");
        let scene = Scene::set(&world, mode)?;
        let agent = scene.start()?;
        let client = world.pod("client");
        let one = || client.enter(|| attempt(scene.address)).end;
        assert_eq!(one(), End::Answered);
        agent.pause(true);
        // Connections are made with the hanging agent until its last beat is too old, and wait there.
        wait_for("the kernel to notice", || one() == meanwhile);
        assert_eq!(one(), meanwhile);
        agent.pause(false);
        let steered = || count(&agent, "steered").unwrap_or_default();
        let before = steered();
        wait_for("the next beat", || one() == End::Answered && steered() > before);
        assert!(count(&agent, "agent_silent")? >= 2.0 && count(&agent, counter)? >= 2.0, "{mode}");
    }
    Ok(())
}
