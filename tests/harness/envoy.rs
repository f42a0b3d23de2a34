//! The real Envoy, as a child process, where there is one: `cargo xtask setup --peers` brings it, MESH_ENVOY names another.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::process::Process;
use crate::scratch::Scratch;

/// A running Envoy. Ends, with its files, when dropped.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    // Holds the configuration.
    _scratch: Scratch,
}

/// Its program, if it is there.
#[must_use]
pub fn program() -> Option<PathBuf> {
    let named = std::env::var_os("MESH_ENVOY").map(PathBuf::from);
    named.or_else(|| peers().map(|peers| peers.join("envoy"))).filter(|path| path.is_file())
}

/// Where `cargo xtask setup --peers` puts other proxies: beside the folders of the build profiles.
#[must_use]
pub fn peers() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    test.ancestors().map(|folder| folder.join("peers")).find(|peers| peers.is_dir())
}

impl Envoy {
    /// Starts one with a single data thread, and waits for nothing.
    ///
    /// # Errors
    /// If there is no such program.
    pub fn begin(config: &str) -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        let config = scratch.write("envoy.yaml", config)?;
        let mut command = Command::new(program().context("no program")?);
        command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning", "-c"]).arg(config);
        Ok(Self { process: Process::spawn("envoy", command)?, _scratch: scratch })
    }

    /// What it printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.lines().join("\n")
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }
}

/// Ports of this machine that are listened on. Asking the kernel leaves no connection behind, as a probe would.
///
/// # Errors
/// If the kernel doesn't tell.
pub fn listening() -> anyhow::Result<Vec<u16>> {
    const LISTEN: &str = "0A";
    let table = fs::read_to_string("/proc/net/tcp")?;
    let ports = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (_, port) = fields.next()?.split_once(':')?;
        (fields.nth(1)? == LISTEN).then(|| u16::from_str_radix(port, 16).ok()).flatten()
    });
    Ok(ports.collect())
}
