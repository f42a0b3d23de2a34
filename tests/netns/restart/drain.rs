//! SIGTERM under load: whoever connects, from inside or from outside, is answered by the agent or goes its own way, but never ends at
//! a socket that closes.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use harness::config::{all_to, http, service, with};
use harness::wire::Wire;
use serde_json::json;

use crate::restart::load::{End, Load};
use crate::restart::{Scene, count, wait_for};
use crate::world_or_skip;

#[test]
fn draining_resets_nobody() -> anyhow::Result<()> {
    for persist in [true, false] {
        let world = world_or_skip!("client", "server", "outside");
        let mut scene = Scene::set(&world, "permissive")?;
        scene.config["mesh"]["kernel"]["persist"] = json!(persist);
        let inbound = with(
            service(scene.address, http(all_to("server"))),
            json!({ "name": "inbound", "traffic_direction": "INBOUND" }),
        );
        let listeners = scene.config["static_resources"]["listeners"].as_array_mut().expect("a list");
        listeners.push(inbound);
        let load = Load::default();
        let mut served = (0.0, 0.0);
        std::thread::scope(|scope| -> anyhow::Result<()> {
            let _stop = Stop(&load);
            for pod in ["client", "outside"] {
                load.run(scope, world.pod(pod), scene.address, 3);
            }
            for _ in 0..5 {
                let mut agent = scene.start()?;
                let ready = Instant::now();
                wait_for("requests", || load.count(ready, &End::Answered) > 100);
                served = (served.0 + count(&agent, "steered")?, served.1 + count(&agent, "inbound_steered")?);
                agent.terminate();
                agent.wait(Duration::from_secs(10))?;
                let gone = Instant::now();
                wait_for("requests without an agent", || load.count(gone, &End::Answered) > 20);
            }
            Ok(())
        })?;
        let attempts = load.attempts();
        let broken: Vec<_> = attempts.iter().filter(|attempt| attempt.end != End::Answered).collect();
        println!("persist {persist}: {} requests, {} broken, {served:?} steered", attempts.len(), broken.len());
        assert!(broken.is_empty(), "{} of {}: {:?}", broken.len(), attempts.len(), &broken[..broken.len().min(5)]);
        assert!(served.0 > 50.0 && served.1 > 50.0, "both ways went through the agents: {served:?}");
    }
    Ok(())
}

#[test]
fn who_waits_to_be_accepted_when_draining_begins_is_served() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let scene = Scene::set(&world, "permissive")?;
    let mut agent = scene.start()?;
    // It stands still: its sockets take connections, and nobody accepts them.
    agent.pause(true);
    let connect = || -> anyhow::Result<Wire> {
        let mut wire = Wire::connect(scene.address)?;
        wire.send("GET / HTTP/1.1\r\nhost: service\r\n\r\n")?;
        Ok(wire)
    };
    let mut waiting = world.pod("client").enter(|| (0..400).map(|_| connect()).collect::<anyhow::Result<Vec<_>>>())?;
    agent.terminate();
    agent.pause(false);
    let mut closed = 0;
    for (n, wire) in waiting.iter_mut().enumerate() {
        let answer = wire.response().with_context(|| format!("connection {n}"))?;
        assert_eq!(answer.status, 200, "connection {n}");
        closed += usize::from(answer.header("connection") == Some("close"));
    }
    // The first ones may be answered before the agent knows.
    assert!(closed > 0, "nobody was told that it was the last answer");
    agent.wait(Duration::from_secs(5))?;
    assert!(agent.log().contains("drained"), "{}", agent.log());
    Ok(())
}

/// The clients of a test that fails have to end too.
struct Stop<'a>(&'a Load);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}
