//! Envoy and the agent, each with listeners of its own address, and the server that feeds both.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::agent::{Agent, Options};
use harness::config::own_address;
use harness::envoy::Envoy;

use super::model::MAIN_PORT;
use super::probe::{Outcome, Prober};
use super::server::{Node, Push, Refusal, Server};

/// Both, running. Who is named first is Envoy.
pub(super) struct Pair {
    nodes: [Node; 2],
    server: Box<dyn Server>,
    pub(super) envoy: Envoy,
    pub(super) agent: Agent,
    pub(super) prober: Prober,
}

impl Pair {
    /// With what `first` holds, a listener at [`MAIN_PORT`] among it.
    pub(super) fn start(
        incremental: bool,
        first: &Push,
        start: impl FnOnce(&[Node]) -> anyhow::Result<Box<dyn Server>>,
    ) -> anyhow::Result<Self> {
        let nodes = ["envoy", "agent"].map(|id| Node { id: id.to_owned(), ip: own_address(0).ip() });
        let mut server = start(&nodes)?;
        server.push(first, &[])?;
        let [of_envoy, of_agent] = nodes.each_ref().map(|node| server.bootstrap(node, incremental));
        let mut envoy = Envoy::begin(&of_envoy.to_string())?;
        let agent = Options::no_kernel().start(of_agent)?;
        let mut prober = Prober::new()?;
        let begun = Instant::now();
        while prober.connect(nodes[0].at(MAIN_PORT)).is_err() {
            let is_early = begun.elapsed() < Duration::from_secs(20);
            ensure!(envoy.is_running() && is_early, "Envoy does not start:\n{}", envoy.log());
        }
        Ok(Self { nodes, server, envoy, agent, prober })
    }

    /// Waits until both answer this at a port.
    pub(super) fn until(&mut self, port: u16, path: &str, expected: &str) -> anyhow::Result<()> {
        self.until_each(port, path, [expected; 2], Duration::from_secs(10))
    }

    /// Waits until Envoy and the agent answer this, each its own.
    pub(super) fn until_each(
        &mut self,
        port: u16,
        path: &str,
        expected: [&str; 2],
        patience: Duration,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let outcomes = self.ask(port, path, 1, true);
            if outcomes.each_ref().map(|outcome| outcome.only()) == expected.map(Some) {
                return Ok(());
            }
            ensure!(begun.elapsed() < patience, "{port}{path}: {outcomes:?}, not {expected:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a change and waits for both: who refused what.
    pub(super) fn push(&mut self, push: &Push) -> anyhow::Result<Vec<Refusal>> {
        self.server.push(push, &self.nodes)
    }

    /// Whether nobody says what was refused.
    pub(super) fn is_silent(&self) -> bool {
        self.server.is_silent()
    }

    /// Asks both the same.
    pub(super) fn ask(&mut self, port: u16, path: &str, times: usize, is_fresh: bool) -> [Outcome; 2] {
        let prober = &mut self.prober;
        self.nodes.each_ref().map(|node| prober.ask(node.at(port), path, times, is_fresh))
    }

    pub(super) fn at_agent(&self, port: u16) -> SocketAddr {
        self.nodes[1].at(port)
    }

    /// Ends the agent in order.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        let Self { mut agent, prober, .. } = self;
        // Connections that are still open would be waited for.
        drop(prober);
        agent.stop()
    }
}
