//! SIGKILL under load. Only what was under way at that moment may break: nothing is ever sent to a port where nobody listens.

use std::time::{Duration, Instant};

use crate::restart::load::{End, Load};
use crate::restart::{Scene, count, kill, wait_for};
use crate::world_or_skip;

#[test]
fn while_the_agent_is_dead_permissive_passes_and_enforce_refuses() -> anyhow::Result<()> {
    for (mode, meanwhile, counter) in
        [("permissive", End::Answered, "passed_no_agent"), ("enforce", End::Denied, "denied_no_agent")]
    {
        let world = world_or_skip!("client", "server");
        let scene = Scene::set(&world, mode)?;
        let mut agent = scene.start()?;
        let load = Load::default();
        std::thread::scope(|scope| -> anyhow::Result<()> {
            load.run(scope, world.pod("client"), scene.address, 3);
            let began = Instant::now();
            wait_for("requests", || load.count(began, &End::Answered) > 50);
            let (killed, dead, relaunched, ready) = {
                let killed = Instant::now();
                kill(&mut agent)?;
                let dead = Instant::now();
                wait_for("requests without an agent", || load.count(dead, &meanwhile) > 50);
                let relaunched = Instant::now();
                agent = scene.start()?;
                (killed, dead, relaunched, Instant::now())
            };
            let steered = count(&agent, "steered")?;
            wait_for("steering", || count(&agent, "steered").is_ok_and(|now| now > steered + 50.0));
            load.stop();
            let attempts = load.attempts();
            for attempt in &attempts {
                let expected = match (attempt.began, attempt.ended) {
                    // Under way when it was killed.
                    (began, ended) if began <= dead && ended >= killed => continue,
                    (began, ended) if began >= dead && ended <= relaunched => vec![&meanwhile],
                    // Between the two: the one or the other, but nothing else.
                    (began, ended) if began <= ready && ended >= relaunched => vec![&meanwhile, &End::Answered],
                    _ => vec![&End::Answered],
                };
                assert!(expected.contains(&&attempt.end), "{mode}: {attempt:?}, killed {killed:?}, dead {dead:?}");
            }
            // The map outlived the agent, and so did what was counted without it.
            let passed = load.attempts().iter().filter(|it| it.began >= dead && it.ended <= relaunched).count();
            assert!(count(&agent, counter)? >= passed as f64, "{mode}");
            assert!(count(&agent, "agent_gone")? >= passed as f64, "{mode}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn killed_again_and_again_it_comes_back() -> anyhow::Result<()> {
    kill_often(6)
}

#[test]
#[ignore = "takes a minute: cargo test -p mesh-tests --test netns killed_a_hundred_times -- --ignored --nocapture"]
fn killed_a_hundred_times_it_comes_back() -> anyhow::Result<()> {
    kill_often(100)
}

/// Kills it at random moments, from the first of its start on.
fn kill_often(times: u32) -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let scene = Scene::set(&world, "permissive")?;
    let load = Load::default();
    let mut deaths = Vec::new();
    let mut before_ready = 0;
    let agent = std::thread::scope(|scope| -> anyhow::Result<_> {
        load.run(scope, world.pod("client"), scene.address, 3);
        for moment in moments(times) {
            let mut agent = scene.options.begin(&scene.config)?;
            std::thread::sleep(moment);
            before_ready += u32::from(!agent.admin().is_ready());
            let killed = Instant::now();
            kill(&mut agent)?;
            deaths.push((killed, Instant::now()));
        }
        let agent = scene.start()?;
        let steered = count(&agent, "steered")?;
        wait_for("steering", || count(&agent, "steered").is_ok_and(|now| now > steered + 50.0));
        load.stop();
        Ok(agent)
    })?;
    let attempts = load.attempts();
    let overlaps = |began, ended| deaths.iter().any(|&(killed, dead)| began <= dead && ended >= killed);
    let (struck, whole): (Vec<_>, Vec<_>) = attempts.iter().partition(|it| overlaps(it.began, it.ended));
    let broken: Vec<_> = whole.iter().filter(|it| it.end != End::Answered).collect();
    let lost = struck.iter().filter(|it| it.end != End::Answered).count();
    println!(
        "killed {times} times, {before_ready} of them before it was ready: {} requests, {} under way at a kill, {lost} of these \
         lost; broken otherwise: {}; counted: steered {}, passed without an agent {}",
        attempts.len(),
        struck.len(),
        broken.len(),
        count(&agent, "steered")?,
        count(&agent, "passed_no_agent")?,
    );
    assert!(broken.is_empty(), "of {}: {:?}", attempts.len(), &broken[..broken.len().min(5)]);
    let longest = attempts.iter().map(|it| it.ended - it.began).max().unwrap_or_default();
    assert!(longest < Duration::from_secs(5), "a request hung for {longest:?}");
    Ok(())
}

/// How long each agent may live: some not until they are ready, some for a while after.
fn moments(times: u32) -> impl Iterator<Item = Duration> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(std::process::id());
    (0..times).map(move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Duration::from_millis(state % 400)
    })
}
