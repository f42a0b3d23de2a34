//! Two agents at once: on one pin path the second refuses, on two they get along. One after the other: who has no use for what the first
//! has left says so.

use harness::agent::{Options, uninstall};

use crate::restart::load::{End, attempt};
use crate::restart::{Scene, count};
use crate::world_or_skip;

#[test]
fn the_second_of_two_refuses_and_names_the_first() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let scene = Scene::set(&world, "permissive")?;
    // At the same moment: which is first is decided by the kernel.
    let begun = [scene.options.begin(&scene.config)?, scene.options.begin(&scene.config)?];
    crate::restart::wait_for("one of them", || begun.iter().any(|agent| agent.admin().is_ready()));
    let [a, b] = begun;
    let (first, mut second) = if a.admin().is_ready() { (a, b) } else { (b, a) };
    let status = second.wait(std::time::Duration::from_secs(10))?;
    let log = second.log();
    assert!(!status.success(), "{log}");
    assert!(log.contains(&format!("process id {} ", first.pid())), "{} is not named: {log}", first.pid());
    assert!(log.contains(&world.pin_path().display().to_string()), "{log}");
    assert_eq!(world.pod("client").enter(|| attempt(scene.address)).end, End::Answered);
    Ok(())
}

#[test]
fn two_pin_paths_get_along() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server", "other");
    let scene = Scene::set(&world, "permissive")?;
    let mut config = world.mesh(&["other"], scene.config.clone());
    // One begins with the other's name, so that it is swept up with it.
    let path = format!("{}-other", world.pin_path().display());
    config["mesh"]["kernel"]["pin_path"] = path.as_str().into();
    {
        let agents = [scene.start()?, scene.options.start(&config)?];
        for pod in ["client", "other"] {
            assert_eq!(world.pod(pod).enter(|| attempt(scene.address)).end, End::Answered);
        }
        for agent in &agents {
            assert_eq!(count(agent, "steered")?, 1.0, "{}", agent.log());
        }
    }
    let done = uninstall(path.as_ref())?;
    assert!(done.status.success(), "{}", done.text());
    // One that is gone takes nothing of the other's along.
    let _agent = scene.start()?;
    assert_eq!(world.pod("client").enter(|| attempt(scene.address)).end, End::Answered);
    Ok(())
}

#[test]
fn who_has_no_use_for_what_an_agent_left_says_that_it_is_there() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let scene = Scene::set(&world, "permissive")?;
    let mut without = scene.config.clone();
    without["mesh"]["workloads"] = serde_json::json!([]);
    let says = || -> anyhow::Result<[bool; 2]> {
        let agents = [Options::no_kernel().start(&scene.config)?, scene.options.start(&without)?];
        let command = format!("mesh-agent uninstall --pin-path {}", world.pin_path().display());
        Ok(agents.map(|agent| agent.log().contains(&command)))
    };
    assert_eq!(says()?, [false; 2], "nothing is there");
    let mut agent = scene.start()?;
    assert_eq!(says()?, [false; 2], "it belongs to somebody");
    agent.stop()?;
    assert_eq!(says()?, [true; 2]);
    assert!(uninstall(&world.pin_path())?.status.success());
    assert_eq!(says()?, [false; 2], "and it is gone");
    Ok(())
}
