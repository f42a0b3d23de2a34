//! A world of pods on one machine: each a network namespace and a cgroup, joined by a bridge.
//!
//! The bridge lives in a namespace of the world's own, so nothing appears among the host's interfaces and any number of
//! worlds use the same addresses at once. All of `ip`'s work is batched: six pods stand in some 40 ms and go in 10.

mod ip;
mod names;
mod pod;
mod sweep;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, bail, ensure};
use mesh_agent::model::mount;
use serde_json::{Value, json};

pub use pod::Pod;

use crate::config::with;
use crate::world::ip::Batch;
use crate::world::names::Tag;

/// Pods that reach each other, and nothing else. Dropping it ends their processes and leaves nothing behind.
#[derive(Debug)]
pub struct World {
    tag: Tag,
    cgroup: PathBuf,
    pods: Vec<Pod>,
}

impl World {
    /// Builds one pod for each name, with addresses `10.244.0.2`, `fd00:244::2` and counting.
    ///
    /// # Errors
    /// What is missing on this machine (root, `ip`, cgroup v2), or what the kernel said.
    pub fn build(pods: &[&str]) -> anyhow::Result<Self> {
        ensure!(is_root(), "a world of pods needs root");
        ensure!(pods.len() < 200, "a world has at most 200 pods");
        let mount = cgroup_mount()?;
        sweep::once(&mount);
        let tag = Tag::next();
        let cgroup = mount.join(tag.as_str());
        let pods = pods.iter().zip(2..).map(|(name, n)| Pod::plan(&tag, &mount, name, n)).collect();
        // Made before anything exists, so that a world that could be built only in part is torn down as well.
        let world = Self { tag, cgroup, pods };
        world.make_cgroups()?;
        world.make_networks()?;
        Ok(world)
    }

    /// The pod of that name.
    ///
    /// # Panics
    /// If there is none: a mistake in the test.
    #[must_use]
    pub fn pod(&self, name: &str) -> &Pod {
        self.pods.iter().find(|pod| pod.name() == name).unwrap_or_else(|| panic!("this world has no pod {name}"))
    }

    /// All pods, in the order they were named.
    #[must_use]
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// What every name this world leaves on the machine begins with.
    #[must_use]
    pub fn tag(&self) -> &str {
        self.tag.as_str()
    }

    /// Where an agent of this world may pin.
    #[must_use]
    pub fn pin_path(&self) -> PathBuf {
        // The BPF file system allows no dots.
        Path::new(sweep::BPFFS).join(self.tag.as_str().replace('.', sweep::DOT))
    }

    /// A cgroup for the agent of this world. In it, the agent is ended with the world, even where the world is swept up after
    /// its owner was killed.
    #[must_use]
    pub fn agent_cgroup(&self) -> PathBuf {
        self.cgroup.join("agent")
    }

    /// `config` with a `mesh` key that meshes these pods.
    #[must_use]
    pub fn mesh(&self, pods: &[&str], config: Value) -> Value {
        let workloads = pods.iter().map(|name| self.pod(name).workload()).collect::<Vec<_>>();
        let mesh = json!({ "workloads": workloads, "kernel": { "pin_path": self.pin_path() } });
        with(config, json!({ "mesh": mesh }))
    }

    /// Makes the pod of that name anew after it died ([`Pod::die`]): another namespace of the same name, with the same addresses.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn revive(&self, name: &str) -> anyhow::Result<()> {
        let pod = self.pod(name);
        let mut space = Batch::host();
        space.line(format!("netns add {}", pod.netns()));
        space.run()?;
        let mut link = Batch::inside(&self.tag.netns("bridge"));
        // The kernel makes up a name: that of the first link may not be free yet.
        link.line(format!("link add master br0 up type veth peer name eth0 netns {}", pod.netns()));
        link.run()?;
        pod_addresses(pod).run()
    }

    fn make_cgroups(&self) -> anyhow::Result<()> {
        for pod in &self.pods {
            fs::create_dir_all(pod.cgroup()).with_context(|| format!("cgroup {}", pod.cgroup().display()))?;
        }
        Ok(())
    }

    fn make_networks(&self) -> anyhow::Result<()> {
        let bridge = self.tag.netns("bridge");
        let mut spaces = Batch::host();
        spaces.line(format!("netns add {bridge}"));
        for pod in &self.pods {
            spaces.line(format!("netns add {}", pod.netns()));
        }
        spaces.run()?;

        let mut links = Batch::inside(&bridge);
        links.line("link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0");
        links.line("link set br0 up");
        for (n, pod) in self.pods.iter().enumerate() {
            links.line(format!("link add pod{n} master br0 up type veth peer name eth0 netns {}", pod.netns()));
        }
        links.run()?;

        // One `ip` per namespace, all at once.
        let running = self.pods.iter().map(|pod| pod_addresses(pod).start()).collect::<Vec<_>>();
        running.into_iter().try_for_each(|batch| batch?.finish())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let spaces =
            std::iter::once(self.tag.netns("bridge")).chain(self.pods.iter().map(|pod| pod.netns().to_owned()));
        sweep::remove(&self.cgroup, spaces);
        sweep::remove_pins(&self.pin_path());
    }
}

/// Whether this program runs as root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where cgroup v2 is mounted, which is not `/sys/fs/cgroup` on a host that still has v1 as well.
///
/// # Errors
/// If it isn't mounted.
pub fn cgroup_mount() -> anyhow::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").context("/proc/mounts")?;
    mount::cgroup2(&mounts).context("cgroup v2 is not mounted")
}

/// The nth address of every world's IPv4 subnet.
fn v4(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, 0, n)
}

/// The nth address of every world's IPv6 subnet.
fn v6(n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x244, 0, 0, 0, 0, 0, u16::from(n))
}

fn pod_addresses(pod: &Pod) -> Batch {
    let mut batch = Batch::inside(pod.netns());
    batch.line("link set lo up");
    batch.line("link set eth0 up");
    batch.line(format!("addr add {}/24 dev eth0", pod.v4()));
    // The address is ours alone: without `nodad` it could be used only after a second of looking for another owner.
    batch.line(format!("addr add {}/64 dev eth0 nodad", pod.v6()));
    batch
}

/// Kills every process of a cgroup and of those below it, and removes them all.
fn remove_cgroup(path: &Path) -> anyhow::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let children = fs::read_dir(path)?.flatten().filter(|entry| entry.path().is_dir());
    for child in children {
        remove_cgroup(&child.path())?;
    }
    // The processes are gone some time after the kill; 2 s is far more than they need.
    for _ in 0..400 {
        kill_cgroup(path);
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => return Ok(()),
        }
    }
    bail!("cgroup {} does not empty", path.display())
}

fn kill_cgroup(path: &Path) {
    if fs::write(path.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    // Before Linux 5.14 there is no cgroup.kill.
    let processes = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|line| rustix::process::Pid::from_raw(line.parse().ok()?)) {
        // Already gone is what we want.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}
