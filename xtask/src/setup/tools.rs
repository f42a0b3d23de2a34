//! The programs of other projects that tests, demo and benchmarks run, and the Debian packages they come in.

use std::process::Command;

use mesh_ebpf_build::find_program;

use crate::{process, setup::Need};

/// A program and its package.
#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) package: &'static str,
    probe: Probe,
}

/// How to see that it is there.
#[derive(Debug)]
enum Probe {
    /// A program of this name is found.
    Program(&'static str),
    /// This runs and succeeds.
    Runs(&'static [&'static str]),
}

impl Tool {
    const fn new(program: &'static str, package: &'static str) -> Self {
        Self { package, probe: Probe::Program(program) }
    }

    pub(crate) fn is_there(&self) -> bool {
        match self.probe {
            Probe::Program(name) => find_program(name).is_some(),
            Probe::Runs(words) => process::printed(Command::new(words[0]).args(&words[1..])).is_some(),
        }
    }

    /// Where its program is, if it is one.
    pub(crate) fn place(&self) -> Option<String> {
        match self.probe {
            Probe::Program(name) => find_program(name).map(|path| path.display().to_string()),
            Probe::Runs(_) => None,
        }
    }
}

/// The tools that belong to `need`.
pub(crate) fn of(need: Need) -> &'static [Tool] {
    match need {
        Need::Build => &[],
        Need::World => &WORLD,
        Need::Envoy => &ENVOY,
        Need::Rivals => &RIVALS,
    }
}

const WORLD: [Tool; 6] = [
    Tool::new("ip", "iproute2"),
    // These two only to prove that the mesh leaves them empty.
    Tool::new("iptables-save", "iptables"),
    Tool::new("nft", "nftables"),
    Tool::new("bpftool", "bpftool"),
    Tool::new("redis-server", "redis-server"),
    // systemd-analyze checks the unit in deploy/.
    Tool::new("systemd-analyze", "systemd"),
];

const ENVOY: [Tool; 2] = [
    Tool::new("python3", "python3"),
    Tool { package: "python3-venv", probe: Probe::Runs(&["python3", "-c", "import ensurepip, venv"]) },
];

const RIVALS: [Tool; 4] = [
    Tool::new("wrk", "wrk"),
    Tool::new("h2load", "nghttp2-client"),
    Tool::new("haproxy", "haproxy"),
    Tool::new("nginx", "nginx-light"),
];
