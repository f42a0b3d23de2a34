//! One pod: a network namespace, a cgroup, two addresses, and the ways to run something in it.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};

use crate::binaries;
use crate::process::{Output, Process};
use crate::world::names::Tag;
use crate::world::{ip::Batch, kill_cgroup, sweep};

/// A place of its own for programs, with addresses of its own.
#[derive(Clone, Debug)]
pub struct Pod {
    name: String,
    netns: String,
    cgroup: PathBuf,
    cgroup_name: String,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

impl Pod {
    pub(super) fn plan(tag: &Tag, cgroup_mount: &Path, name: &str, n: u8) -> Self {
        let cgroup_name = format!("{}/{name}", tag.as_str());
        Self {
            name: name.to_owned(),
            netns: tag.netns(name),
            cgroup: cgroup_mount.join(&cgroup_name),
            cgroup_name,
            v4: super::v4(n),
            v6: super::v6(n),
        }
    }

    /// Its name in its world.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name of its network namespace, as `ip netns` knows it.
    #[must_use]
    pub fn netns(&self) -> &str {
        &self.netns
    }

    /// File of its network namespace.
    #[must_use]
    pub fn netns_path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.netns)
    }

    /// Folder of its cgroup.
    #[must_use]
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// Its cgroup, relative to the mount.
    #[must_use]
    pub fn cgroup_name(&self) -> &str {
        &self.cgroup_name
    }

    /// Its IPv4 address.
    #[must_use]
    pub fn v4(&self) -> Ipv4Addr {
        self.v4
    }

    /// Its IPv6 address.
    #[must_use]
    pub fn v6(&self) -> Ipv6Addr {
        self.v6
    }

    /// Its addresses with a port, IPv4 first.
    #[must_use]
    pub fn at(&self, port: u16) -> [SocketAddr; 2] {
        [IpAddr::V4(self.v4), IpAddr::V6(self.v6)].map(|ip| SocketAddr::new(ip, port))
    }

    /// One entry of `mesh.workloads`.
    #[must_use]
    pub fn workload(&self) -> Value {
        json!({
            "name": self.name,
            "netns": self.netns_path(),
            "cgroup": self.cgroup_name,
            "addresses": [self.v4, self.v6],
        })
    }

    /// Lines of `/etc/hosts` for the programs of this pod.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn set_hosts(&self, lines: &str) -> anyhow::Result<()> {
        let hosts = format!("127.0.0.1 localhost\n::1 localhost\n{lines}");
        sweep::write_etc(&self.netns, "hosts", &hosts).context("/etc/netns")
    }

    /// A command that will run in this pod: it joins the cgroup first, then the namespace, and keeps its process id.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo 0 >"$0/cgroup.procs" && exec ip netns exec "$@""#]);
        command.arg(&self.cgroup).arg(&self.netns).arg(program.as_ref());
        command
    }

    /// Starts a program in this pod.
    ///
    /// # Errors
    /// If there is no such program.
    pub fn spawn(&self, program: &str, arguments: &[&str]) -> anyhow::Result<Process> {
        let mut command = self.command(program);
        command.args(arguments);
        Process::spawn(&format!("{}/{program}", self.name), command)
    }

    /// Starts `mesh-peer` in this pod and waits until it says that it is ready.
    ///
    /// # Errors
    /// If it doesn't become ready.
    pub fn peer(&self, arguments: &[&str]) -> anyhow::Result<Process> {
        let mut command = self.command(binaries::peer()?);
        command.args(arguments);
        let peer = Process::spawn(&format!("{}/mesh-peer", self.name), command)?;
        peer.wait_line(|line| line.starts_with("ready"), Duration::from_secs(10))?;
        Ok(peer)
    }

    /// Runs a program in this pod to its end.
    ///
    /// # Errors
    /// If there is no such program, or it takes more than 30 s.
    pub fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<Output> {
        self.spawn(program, arguments)?.output(Duration::from_secs(30))
    }

    /// Runs `task` on a thread of this program that is inside the pod's network namespace (not in its cgroup). Sockets
    /// made there stay there.
    ///
    /// # Panics
    /// If the namespace is gone, or with `task`'s own panic.
    pub fn enter<T: Send>(&self, task: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            let netns = File::open(self.netns_path()).expect("the pod's namespace is there");
            move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter it");
            task()
        };
        // The thread ends with the task, so it need not come back.
        std::thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs asynchronous work as [`Pod::enter`] does, on a runtime of its own.
    ///
    /// # Panics
    /// As [`Pod::enter`].
    pub fn block_on<T: Send>(&self, work: impl Future<Output = T> + Send) -> T {
        self.enter(|| crate::client::block_on(work))
    }

    /// Kills every program in the pod's cgroup and removes its network namespace, as when a container dies.
    ///
    /// # Errors
    /// If the namespace can't be removed.
    pub fn die(&self) -> anyhow::Result<()> {
        kill_cgroup(&self.cgroup);
        let mut batch = Batch::host();
        batch.line(format!("netns del {}", self.netns));
        batch.run()
    }
}
