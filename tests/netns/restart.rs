//! An agent that is killed, hangs and comes back, under load and beside another; what the kernel does meanwhile.

#[path = "restart/adopt.rs"]
mod adopt;
#[path = "restart/drain.rs"]
mod drain;
#[path = "restart/kill.rs"]
mod kill;
#[path = "restart/load.rs"]
mod load;
#[path = "restart/many.rs"]
mod many;
#[path = "restart/services.rs"]
mod services;
#[path = "restart/silence.rs"]
mod silence;
#[path = "restart/two.rs"]
mod two;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use harness::agent::{Agent, Options};
use harness::config::{all_to, bootstrap, cluster, http, service};
use harness::echo::HttpServer;
use harness::world::World;
use serde_json::Value;

/// A client and a server, both meshed. The server is asked at its own address, where it is reached without an agent too.
struct Scene {
    _server: HttpServer,
    options: Options,
    config: Value,
    address: SocketAddr,
}

impl Scene {
    fn set(world: &World, mode: &str) -> anyhow::Result<Self> {
        let server = world.pod("server");
        let address = server.at(8080)[0];
        let running = server.enter(|| HttpServer::start(address, "server"))?;
        let listeners = [service(address, http(all_to("server")))];
        let mut config = world.mesh(&["client", "server"], bootstrap(&listeners, &[cluster("server", &[address])]));
        config["mesh"]["workloads"][0]["mode"] = mode.into();
        let options = crate::mesh::options().inside(&world.agent_cgroup())?;
        Ok(Self { _server: running, options, config, address })
    }

    fn start(&self) -> anyhow::Result<Agent> {
        self.options.start(&self.config)
    }
}

/// Kills it and waits until it is gone.
fn kill(agent: &mut Agent) -> anyhow::Result<()> {
    agent.kill();
    agent.wait(Duration::from_secs(5)).map(drop)
}

/// A number that the kernel programs counted.
fn count(agent: &Agent, name: &str) -> anyhow::Result<f64> {
    Ok(agent.admin().metrics()?.sum(&format!("bowline_kernel_{name}_total"), &[]))
}

/// Tries until it holds.
fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}
