//! The pods, their servers and the agent: set up in order, taken down in reverse.

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use anyhow::{Context, bail};
use harness::agent::{Agent, Options};
use harness::process::Process;
use harness::world::{Pod, World};

/// Everything that runs. Fields are dropped in this order: the agent before its pods, the pods before their world.
#[derive(Debug)]
pub(crate) struct Stage {
    agent: Agent,
    _servers: Vec<Process>,
    world: World,
}

impl Stage {
    /// Sets it all up; the gateway listens on `port` when this returns.
    pub(crate) fn set(port: u16) -> anyhow::Result<Self> {
        if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            bail!("127.0.0.1:{port}: {error}; choose another port with `--port`");
        }
        let world = World::build(&PODS)?;
        for pod in world.pods() {
            pod.set_hosts(SERVICES)?;
        }
        let mut servers = vec![redis(world.pod("redis"))?];
        for pod in world.pods().iter().filter(|pod| pod.name() != "redis") {
            servers.push(server(pod)?);
        }
        for server in &servers {
            server.wait_line(|line| line.contains("ready") || line.contains("Ready"), Duration::from_secs(10))?;
        }
        let agent = Options::new().arg("--drain-timeout").arg("2s").inside(&world.agent_cgroup())?;
        let agent = agent.start(config(&world, port))?;
        Ok(Self { agent, _servers: servers, world })
    }

    /// The agent.
    pub(crate) fn agent(&self) -> &Agent {
        &self.agent
    }

    /// The pods.
    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    /// Ends it all in order, checking that the agent ends well.
    pub(crate) fn strike(mut self) -> anyhow::Result<()> {
        self.agent.stop()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Nothing if it was struck; otherwise the agent takes away what is its own before it is killed.
        if let Err(error) = self.agent.stop() {
            eprintln!("{error:#}");
        }
    }
}

/// The example configuration with this world's names in it.
fn config(world: &World, port: u16) -> String {
    let pins = world.pin_path().display().to_string();
    CONFIG.replace("${WORLD}", world.tag()).replace("${PINS}", &pins).replace("${PORT}", &port.to_string())
}

/// Debian's Redis, which knows nothing of the mesh.
fn redis(pod: &Pod) -> anyhow::Result<Process> {
    let [v4, v6] = pod.at(0).map(|address| address.ip().to_string());
    let bind = ["--bind", &v4, &v6, "127.0.0.1"];
    let rest = ["--port", "6379", "--protected-mode", "no", "--save", "", "--appendonly", "no", "--dir", "/"];
    pod.spawn("redis-server", &[&bind[..], &rest].concat()).context("redis-server (package redis-server)")
}

/// One of our own servers: this program again, in its pod.
fn server(pod: &Pod) -> anyhow::Result<Process> {
    let (service, version) = pod.name().split_once('-').unwrap_or((pod.name(), "v1"));
    let mut command = pod.command(env::current_exe().context("path of this program")?);
    command.args(["service", service, "--version", version]);
    command.args(pod.at(9080).map(|address| address.to_string()));
    Process::spawn(pod.name(), command)
}

/// The order decides the addresses, and `bookinfo.yaml` names those.
const PODS: [&str; 7] = ["productpage", "details", "reviews-v1", "reviews-v2", "reviews-v3", "ratings", "redis"];

/// Names of the service addresses, for our servers and for whatever you run with `ip netns exec`.
const SERVICES: &str = "\
10.96.0.10 details
10.96.0.11 reviews
10.96.0.12 ratings
10.96.0.13 redis
fd00:96::10 details
fd00:96::11 reviews
fd00:96::12 ratings
fd00:96::13 redis
";

const CONFIG: &str = include_str!("bookinfo.yaml");
