//! The proxies that are compared, each set up to do the same with one thread.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use mesh_ebpf_build::find_program;

use crate::{
    bench::server::Server,
    setup::{self, Need, peers},
    workspace,
};

/// A proxy between load and backend, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    MeshAgent,
    Envoy,
    Haproxy,
    Nginx,
    NoMesh,
}

impl Subject {
    /// In the order of the table: what the others are compared with comes first.
    pub(crate) const ALL: [Self; 5] = [Self::MeshAgent, Self::Envoy, Self::Haproxy, Self::Nginx, Self::NoMesh];

    /// Its name in results.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::MeshAgent => "mesh-agent",
            Self::Envoy => "envoy",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::NoMesh => "no-mesh",
        }
    }

    /// Its program, if it is one and is there.
    pub(crate) fn program(self) -> Option<PathBuf> {
        match self {
            Self::MeshAgent => Some(workspace::target().join("release/mesh-agent")).filter(|it| it.is_file()),
            Self::Envoy => Some(peers::envoy()).filter(|it| it.is_file()),
            Self::Haproxy | Self::Nginx => find_program(self.name()),
            Self::NoMesh => None,
        }
    }
}

/// Gets those that can be got. One that cannot is left out of the comparison, which says so.
pub(crate) fn bring_rivals() {
    for need in [Need::Rivals, Need::Envoy] {
        if let Err(error) = setup::ensure(&[need]) {
            eprintln!("{error:#}");
        }
    }
}

/// Where a server listens and what it writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) port: u16,
    pub(crate) cpu: u32,
    pub(crate) folder: &'a Path,
}

/// What each proxy is told to do, the same in its own words.
#[derive(Debug)]
pub(crate) struct Templates {
    /// The very same file for Envoy and the agent.
    pub(crate) envoy: &'static str,
    pub(crate) haproxy: &'static str,
    pub(crate) nginx: &'static str,
}

/// Starts a proxy to the backend, and waits until it accepts connections.
pub(crate) fn start(
    subject: Subject,
    program: &Path,
    place: Place<'_>,
    backend: u16,
    templates: &Templates,
) -> Result<Server> {
    let name = subject.name();
    let (template, file) = match subject {
        Subject::MeshAgent | Subject::Envoy => (templates.envoy, "yaml"),
        Subject::Haproxy => (templates.haproxy, "cfg"),
        Subject::Nginx | Subject::NoMesh => (templates.nginx, "conf"),
    };
    let config = place.folder.join(format!("{name}.{file}"));
    fs::write(&config, filled_in(template, place, backend))?;

    let mut command = Command::new(program);
    match subject {
        Subject::MeshAgent => command
            .args(["run", "--no-kernel", "--workers", "1", "--config"])
            .arg(&config)
            .arg("--admin-socket")
            .arg(place.folder.join("agent.sock")),
        Subject::Envoy => command
            .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "--config-path"])
            .arg(&config),
        Subject::Haproxy => command.arg("-db").arg("-f").arg(&config),
        Subject::Nginx | Subject::NoMesh => command.arg("-c").arg(&config),
    };
    Server::start(&command, place.cpu, place.port, &place.folder.join(format!("{name}.log")))
}

/// Starts what answers: nginx with an answer from memory, which costs less than any of the proxies.
pub(crate) fn start_backend(place: Place<'_>) -> Result<Server> {
    let config = place.folder.join("backend.conf");
    fs::write(&config, filled_in(include_str!("config/backend.conf"), place, place.port))?;
    let mut command = Command::new(find_program("nginx").unwrap_or_else(|| "nginx".into()));
    command.arg("-c").arg(&config);
    Server::start(&command, place.cpu, place.port, &place.folder.join("backend.log"))
}

fn filled_in(template: &str, place: Place<'_>, backend: u16) -> String {
    template
        .replace("{port}", &place.port.to_string())
        .replace("{backend}", &backend.to_string())
        .replace("{folder}", &place.folder.display().to_string())
}
