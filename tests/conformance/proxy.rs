//! The two proxies, as child processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use harness::agent::{Agent, Options};
use harness::process::Process;
use harness::scratch::Scratch;

use crate::world::Ports;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Envoy,
    Agent,
}

/// A running proxy. Ends, with its files, when dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "held for their Drop")]
pub(crate) enum Proxy {
    Envoy(Process, Scratch),
    Agent(Box<Agent>),
}

impl Proxy {
    /// Starts a proxy and waits until it listens on all of its ports.
    pub(crate) async fn start(subject: Subject, config: &str, ports: &Ports) -> Result<Self> {
        let (config, ports) = (ports.show(config), ports.listeners().collect::<Vec<_>>());
        let start = move || match subject {
            Subject::Envoy => envoy(&config, &ports),
            Subject::Agent => {
                let options = Options::new().arg("--no-kernel").arg("--workers").arg("1");
                Ok(Self::Agent(Box::new(options.start(&config)?)))
            }
        };
        tokio::task::spawn_blocking(start).await?.with_context(|| format!("{subject:?}"))
    }
}

/// Envoy's binary, if it is there.
pub(crate) fn envoy_program() -> Option<PathBuf> {
    let named = std::env::var_os("MESH_ENVOY").map(PathBuf::from);
    named.or_else(|| find(&peers()?, "envoy")).filter(|path| path.is_file())
}

fn envoy(config: &str, ports: &[u16]) -> Result<Proxy> {
    let scratch = Scratch::new()?;
    let config = scratch.write("envoy.yaml", config)?;
    let mut command = Command::new(envoy_program().context("no program")?);
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning", "-c"]).arg(config);
    let mut process = Process::spawn("envoy", command)?;
    let deadline = Instant::now() + Duration::from_secs(15);
    let listening = || -> Result<bool> {
        let bound = listening()?;
        Ok(ports.iter().all(|port| bound.contains(port)))
    };
    while !listening()? {
        if !process.is_running() || Instant::now() > deadline {
            bail!("does not listen:\n{}", process.lines().join("\n"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(Proxy::Envoy(process, scratch))
}

/// Ports of this machine that are listened on. Asking the kernel leaves no connection behind, as a probe would.
fn listening() -> Result<Vec<u16>> {
    const LISTEN: &str = "0A";
    let table = fs::read_to_string("/proc/net/tcp")?;
    let ports = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (_, port) = fields.next()?.split_once(':')?;
        (fields.nth(1)? == LISTEN).then(|| u16::from_str_radix(port, 16).ok()).flatten()
    });
    Ok(ports.collect())
}

/// Where `cargo xtask setup --peers` puts other proxies: beside the folders of the build profiles.
fn peers() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    test.ancestors().map(|folder| folder.join("peers")).find(|peers| peers.is_dir())
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries: Vec<PathBuf> = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let file = entries.iter().find(|path| path.is_file() && path.file_name().is_some_and(|file| file == name));
    file.cloned().or_else(|| entries.iter().filter(|path| path.is_dir()).find_map(|path| find(path, name)))
}
