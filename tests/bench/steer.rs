//! What steering adds to one connect() of a pod: the helper of `cargo xtask bench steer`.
//!
//! Prints a line `CASE SUBJECT MICROSECONDS` for each round, the median of that round's connects. The rounds take turns:
//! without an agent no program of ours is in the kernel, with one the same pod is meshed. The connect is the blocking
//! one that programs use, so it ends with the handshake: with the other pod, or with the agent's socket in the pod.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use harness::agent::Options;
use harness::config::bootstrap;
use harness::world::{Pod, World};
use rustix::thread::{CpuSet, sched_setaffinity};
use socket2::{Domain, Socket, Type};

/// What `cargo xtask bench steer` passes on.
#[derive(Debug, Parser)]
struct Args {
    /// Rounds with and without the mesh.
    #[arg(long)]
    runs: usize,
    /// Connects in each round and case.
    #[arg(long, default_value_t = 3000)]
    connects: usize,
    /// CPU of the connecting program.
    #[arg(long)]
    client_cpu: usize,
    /// CPU of the agent.
    #[arg(long)]
    agent_cpu: usize,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let world = World::build(&["app", "server"])?;
    let targets = world.pod("server").at(PORT);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let servers = targets.map(|target| world.pod("server").enter(|| listen(target)));
        for server in servers {
            let (server, stop) = (server?, &stop);
            scope.spawn(move || serve(&server, stop));
        }
        let done = rounds(&args, &world, &targets);
        stop.store(true, Ordering::Relaxed);
        done
    })
}

fn rounds(args: &Args, world: &World, targets: &[SocketAddr; 2]) -> Result<()> {
    let config = world.mesh(&["app"], bootstrap(&[], &[]));
    let cpu = args.agent_cpu.to_string();
    let agent = Options::new().arg("--workers").arg("1").under(&["taskset", "--cpu-list", &cpu]);
    let agent = agent.inside(&world.agent_cgroup())?;
    for _ in 0..args.runs {
        show(args, world.pod("app"), targets, "no-mesh")?;
        let mut running = agent.start(&config)?;
        show(args, world.pod("app"), targets, "mesh-agent")?;
        running.stop()?;
    }
    Ok(())
}

fn show(args: &Args, app: &Pod, targets: &[SocketAddr; 2], subject: &str) -> Result<()> {
    for (case, target) in ["v4", "v6"].iter().zip(targets) {
        let took = app.enter(|| {
            let mut cpus = CpuSet::new();
            cpus.set(args.client_cpu);
            sched_setaffinity(None, &cpus).context("pinning the connecting thread")?;
            // The first ones fill caches and learn neighbours.
            connects(*target, WARM_UP)?;
            connects(*target, args.connects)
        })?;
        println!("{case} {subject} {:.3}", median(took).as_secs_f64() * 1e6);
    }
    Ok(())
}

/// How long each of `count` connect() calls took.
fn connects(target: SocketAddr, count: usize) -> Result<Vec<Duration>> {
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
        // Closed by a reset: ports are free again at once.
        socket.set_linger(Some(Duration::ZERO))?;
        let start = Instant::now();
        socket.connect(&target.into()).with_context(|| target.to_string())?;
        took.push(start.elapsed());
        drop(socket);
        thread::sleep(PAUSE);
    }
    Ok(took)
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| address.to_string())?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Takes what comes, so that no queue ever fills.
fn serve(listener: &TcpListener, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(1)),
            // Reset before it was accepted, as all are sooner or later.
            _ => {}
        }
    }
}

fn median(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took.get(took.len() / 2).copied().unwrap_or_default()
}

const PORT: u16 = 8080;

const WARM_UP: usize = 200;

/// Lets the agent and the other pod finish with one connection before the next: what is measured is the call, not a queue.
const PAUSE: Duration = Duration::from_micros(300);
