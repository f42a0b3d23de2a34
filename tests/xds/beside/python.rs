//! A management server that shares no line with ours: `tests/xds/server.py`, on grpcio and the messages that others generated from
//! Envoy's files.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, ensure};
use harness::envoy::peers;
use serde_json::{Value, json};

use super::server::{Node, OWN, Push, Refusal, Server};
use crate::setup::bootstrap;

/// The running server. It is told what to send in lines of JSON, and answers each with one.
pub(crate) struct Python {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Python {
    /// Whether `cargo xtask setup --peers` has brought what it needs.
    pub(crate) fn is_there() -> bool {
        places().is_some()
    }

    pub(crate) fn start(nodes: &[Node]) -> anyhow::Result<Self> {
        let (python, messages) = places().context("no Python")?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/xds/server.py");
        let mut command = Command::new(python);
        command.arg("-B").arg(script).env("PYTHONPATH", messages).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("python")?;
        let orders = child.stdin.take().context("its input")?;
        let answers = BufReader::new(child.stdout.take().context("its output")?);
        let mut server = Self { child, orders, answers, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let own: serde_json::Map<_, _> = nodes.iter().map(|node| (node.id.clone(), json!({ OWN: node.ip }))).collect();
        let started = server.order(&json!({ "nodes": own }))?;
        server.address.set_port(started["port"].as_u64().context("a port")?.try_into()?);
        Ok(server)
    }

    fn order(&mut self, order: &Value) -> anyhow::Result<Value> {
        writeln!(self.orders, "{order}")?;
        self.orders.flush()?;
        let mut line = String::new();
        ensure!(self.answers.read_line(&mut line)? > 0, "the server has ended; its own words are above");
        serde_json::from_str(&line).with_context(|| line.clone())
    }
}

impl Server for Python {
    fn bootstrap(&self, node: &Node, incremental: bool) -> Value {
        bootstrap(&node.id, incremental, self.address)
    }

    fn push(&mut self, push: &Push, nodes: &[Node]) -> anyhow::Result<Vec<Refusal>> {
        let set: Vec<_> = push.set.iter().map(|(kind, name, resource)| json!([kind, name, resource])).collect();
        let gone: Vec<_> = push.gone.iter().map(|(kind, name)| json!([kind, name])).collect();
        let ids: Vec<_> = nodes.iter().map(|node| &node.id).collect();
        let said = self.order(&json!({ "set": set, "gone": gone, "breaks": push.breaks, "await": ids }))?;
        ensure!(said["restless"].as_array().is_some_and(Vec::is_empty), "do not come to rest: {said}");
        let refused = said["refused"].as_array().context("refusals")?.iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(refused.map(|it| Refusal { node: text(&it[0]), kind: text(&it[1]), why: text(&it[2]) }).collect())
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The interpreter, and the folder of Envoy's messages.
pub(crate) fn places() -> Option<(PathBuf, PathBuf)> {
    let peers = peers()?;
    let (python, messages) = (peers.join("venv/bin/python3"), peers.join("messages"));
    (python.is_file() && messages.join("envoy").is_dir()).then_some((python, messages))
}
