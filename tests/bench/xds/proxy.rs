//! The proxies, told where their management server is by the same configuration.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::agent::Agent;
use harness::config::http2_cluster;
use harness::footprint::Footprint;
use harness::process::Process;
use harness::scratch::Scratch;
use harness::world::World;
use serde_json::{Value, json};

use crate::pods;

/// Who is measured.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    Agent,
    /// By its program.
    Envoy(PathBuf),
}

/// One that runs. It ends when it is dropped.
#[derive(Debug)]
pub(crate) enum Proxy {
    Agent(Box<Agent>),
    Envoy(Process, #[expect(dead_code, reason = "held for its Drop")] Scratch),
}

impl Subject {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Agent => "mesh-agent",
            Self::Envoy(_) => "envoy",
        }
    }

    /// Starts it with one worker, on this CPU.
    pub(crate) fn start(&self, server: SocketAddr, cpu: usize) -> Result<Proxy> {
        match self {
            Self::Agent => Ok(Proxy::Agent(Box::new(pods::agent_on(cpu).arg("--no-kernel").begin(bootstrap(server))?))),
            Self::Envoy(program) => {
                let scratch = Scratch::new()?;
                let config = scratch.write("envoy.yaml", &bootstrap(server).to_string())?;
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", &cpu.to_string()]).arg(program).args(["--concurrency", "1"]);
                command.args(["--disable-hot-restart", "--log-level", "error", "--config-path"]).arg(config);
                Ok(Proxy::Envoy(Process::spawn("envoy", command)?, scratch))
            }
        }
    }
}

impl Proxy {
    /// The agent with kernel programs, for one pod of a world.
    pub(crate) fn in_world(world: &World, pod: &str, server: SocketAddr, cpu: usize) -> Result<Self> {
        let config = world.mesh(&[pod], bootstrap(server));
        Ok(Self::Agent(Box::new(pods::agent_on(cpu).inside(&world.agent_cgroup())?.begin(config)?)))
    }

    fn pid(&self) -> u32 {
        match self {
            Self::Agent(agent) => agent.pid(),
            Self::Envoy(process, _) => process.pid(),
        }
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        match self {
            Self::Agent(agent) => agent.log(),
            Self::Envoy(process, _) => process.lines().join("\n"),
        }
    }

    /// Resident memory.
    pub(crate) fn resident_mb(&self) -> Result<f64> {
        Ok(Footprint::of(self.pid())?.resident_kib as f64 / 1024.0)
    }

    /// How long its threads have run.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).context("the proxy has ended")?;
        let mut ran = Duration::ZERO;
        for task in tasks.flatten() {
            // In nanoseconds, where /proc/PID/stat counts hundredths of a second.
            let text = fs::read_to_string(task.path().join("schedstat")).context("schedstat")?;
            let field = text.split_whitespace().next().context("schedstat has fields")?;
            ran += Duration::from_nanos(field.parse()?);
        }
        Ok(ran)
    }
}

/// Clusters and listeners from the server at that address.
fn bootstrap(server: SocketAddr) -> Value {
    let ads = json!({ "ads": {}, "resource_api_version": "V3" });
    json!({
        "node": { "id": "bench", "cluster": "bench" },
        "static_resources": { "clusters": [http2_cluster("plane", &[server])] },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "plane" } }],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
    })
}
