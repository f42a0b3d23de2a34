//! The agent's admin interface, as a client on its Unix socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::metrics::Metrics;
use crate::wire::Response;

/// Asks one agent.
#[derive(Clone, Debug)]
pub struct Admin {
    socket: PathBuf,
}

impl Admin {
    /// For the agent that listens on `socket`.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `GET path`, whatever the status.
    ///
    /// # Errors
    /// If the agent doesn't answer.
    pub fn get(&self, path: &str) -> anyhow::Result<Response> {
        self.ask("GET", path)
    }

    /// `POST path`, whatever the status.
    ///
    /// # Errors
    /// If the agent doesn't answer.
    pub fn post(&self, path: &str) -> anyhow::Result<Response> {
        self.ask("POST", path)
    }

    /// Whether the agent says that it is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.get("/readyz").is_ok_and(|response| response.status == 200)
    }

    /// `GET /metrics`.
    ///
    /// # Errors
    /// If the agent doesn't answer with metrics.
    pub fn metrics(&self) -> anyhow::Result<Metrics> {
        let response = self.get("/metrics")?;
        ensure!(response.status == 200, "/metrics: {}", response.status);
        Ok(Metrics::parse(&response.text()))
    }

    /// `GET path` as JSON.
    ///
    /// # Errors
    /// If the agent doesn't answer with JSON.
    pub fn json(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        let response = self.get(path)?;
        ensure!(response.status == 200, "{path}: {} {}", response.status, response.text());
        serde_json::from_slice(&response.body).with_context(|| format!("{path}: {}", response.text()))
    }

    fn ask(&self, method: &str, path: &str) -> anyhow::Result<Response> {
        let mut stream = UnixStream::connect(&self.socket).with_context(|| self.socket.display().to_string())?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        Response::parse(&bytes).with_context(|| format!("answer to {path}: {}", String::from_utf8_lossy(&bytes)))
    }
}

const TIMEOUT: Duration = Duration::from_secs(5);
