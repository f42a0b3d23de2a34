//! A world of pods and a mesh over it, with something that accepts.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::world::{Pod, World};
use mesh_agent::model::config;
use mesh_agent::model::flow::{Direction, Steering};
use mesh_agent::model::service::{ByKernel, Claims};
use mesh_agent::model::workload::{Mode, Workload};
use mesh_agent::pod::{Limits, Mesh, Options, PodListener};
use serde_json::Value;

/// One test's world and mesh.
pub(crate) struct Rig {
    // Dropped in this order: no connection is steered to listeners that are gone.
    pub(crate) mesh: Mesh,
    acceptors: Acceptors,
    pub(crate) world: World,
    // The process has one cgroup of its own, so it can be the agent of one mesh at a time.
    _alone: MutexGuard<'static, ()>,
}

/// What was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) workload: String,
    pub(crate) direction: Direction,
    /// What `accept` said.
    pub(crate) peer: SocketAddr,
    /// Outbound: what the kernel remembered. Inbound: the socket's own address.
    pub(crate) destination: Option<SocketAddr>,
}

impl Rig {
    /// A mesh over all of these pods.
    pub(crate) fn start(pods: &[&str], change: impl FnOnce(&mut config::Mesh)) -> anyhow::Result<Self> {
        Self::start_within(pods, Limits::default(), change)
    }

    /// The same, with a kernel that may hold so much.
    pub(crate) fn start_within(
        pods: &[&str],
        limits: Limits,
        change: impl FnOnce(&mut config::Mesh),
    ) -> anyhow::Result<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let world = World::build(pods)?;
        let mut config = config::Mesh { workloads: world.pods().iter().map(workload).collect(), ..Default::default() };
        config.kernel.pin_path = world.pin_path();
        change(&mut config);
        let workers = NonZeroUsize::new(2).context("two is not zero")?;
        let options = Options { workers, kernel_log: false, accelerate: false, limits };
        let mut mesh = Mesh::start(&config, options, &everything())?;
        let acceptors = Acceptors::start(&mesh.steering(), mesh.take_listeners());
        Ok(Self { mesh, acceptors, world, _alone: alone })
    }

    pub(crate) fn pod(&self, name: &str) -> &Pod {
        self.world.pod(name)
    }

    /// What was accepted so far.
    pub(crate) fn accepted(&self) -> Vec<Accepted> {
        self.acceptors.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The nth thing that is accepted.
    pub(crate) fn wait_accepted(&self, n: usize) -> anyhow::Result<Accepted> {
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.accepted().len() <= n {
            ensure!(Instant::now() < deadline, "accepted only {:?}", self.accepted());
            thread::sleep(Duration::from_millis(2));
        }
        Ok(self.accepted().swap_remove(n))
    }

    /// A number the programs counted.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let counts = self.mesh.counter_reader()();
        counts.iter().find(|(found, _, _)| *found == name).map_or_else(|| panic!("no counter {name}"), |count| count.2)
    }
}

/// Runs `mesh-peer connect` in a pod and returns what it prints.
pub(crate) fn connect(pod: &Pod, arguments: &[&str]) -> anyhow::Result<Value> {
    let peer = harness::binaries::peer()?;
    let mut command = vec!["connect"];
    command.extend(arguments);
    let output = pod.run(peer.to_str().context("a path of UTF-8")?, &command)?;
    ensure!(output.status.success(), "{}", output.text());
    let line = output.lines.last().context("a line")?;
    Ok(serde_json::from_str(line)?)
}

/// An address that stands in a JSON value.
pub(crate) fn address(value: &Value) -> anyhow::Result<SocketAddr> {
    Ok(value.as_str().context("an address")?.parse()?)
}

/// A kernel that does nothing by itself.
pub(crate) fn everything() -> ByKernel {
    ByKernel { inbound: Claims { all: true, ..Claims::default() }, ..ByKernel::default() }
}

fn workload(pod: &Pod) -> Workload {
    Workload {
        name: pod.name().into(),
        namespace: "default".to_owned(),
        service_account: "default".to_owned(),
        labels: std::collections::BTreeMap::new(),
        netns: Some(pod.netns_path()),
        cgroup: Some(pod.cgroup_name().into()),
        addresses: vec![pod.v4().into(), pod.v6().into()],
        mode: Mode::Permissive,
    }
}

struct Acceptors {
    seen: Arc<Mutex<Vec<Accepted>>>,
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Acceptors {
    fn start(steering: &Arc<dyn Steering>, listeners: Vec<PodListener>) -> Self {
        let (seen, end) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let start = |listener: PodListener| {
            let (steering, seen, end) = (Arc::clone(steering), Arc::clone(&seen), Arc::clone(&end));
            thread::spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    match listener.listener.accept() {
                        Ok((stream, peer)) => note(&listener, &*steering, &seen, stream, peer),
                        Err(_) => thread::sleep(Duration::from_millis(1)),
                    }
                }
            })
        };
        let threads = listeners.into_iter().map(start).collect();
        Self { seen, end, threads }
    }
}

impl Drop for Acceptors {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn note(
    listener: &PodListener,
    steering: &dyn Steering,
    seen: &Mutex<Vec<Accepted>>,
    mut stream: TcpStream,
    peer: SocketAddr,
) {
    let destination = match listener.direction {
        Direction::Outbound => steering.original_destination(listener.pod.id, stream.as_fd()),
        Direction::Inbound => stream.local_addr().ok(),
    };
    let workload = listener.pod.workload.name.to_string();
    let accepted = Accepted { workload, direction: listener.direction, peer, destination };
    // The client may have gone again.
    let _ = writeln!(stream, "{destination:?}");
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(accepted);
}

/// Leaves sockets of a pod no memory for what they have to remember. Says no where a namespace has no such limit of its own.
pub(crate) fn starve(pod: &Pod) -> anyhow::Result<bool> {
    let file = "/proc/sys/net/core/optmem_max";
    if !pod.enter(|| std::path::Path::new(file).exists()) {
        eprintln!("skipped: this kernel's namespaces have no net.core.optmem_max of their own");
        return Ok(false);
    }
    pod.enter(|| std::fs::write(file, "1"))?;
    Ok(true)
}

/// A listener in a pod, as the app's, with nobody who accepts.
pub(crate) fn listen(pod: &Pod, address: SocketAddr) -> anyhow::Result<TcpListener> {
    Ok(pod.enter(|| TcpListener::bind(address))?)
}
