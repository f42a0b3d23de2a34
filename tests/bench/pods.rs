//! What the benchmarks between pods share: where things run, how a connect is timed, how a figure is printed.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use harness::agent::Options;
use rustix::thread::{CpuSet, sched_setaffinity};
use socket2::{Domain, Socket, Type};

/// What `cargo xtask bench` passes on.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Args {
    /// Rounds; each shows every subject once
    #[arg(long)]
    pub(crate) runs: usize,
    /// CPU of the client
    #[arg(long)]
    pub(crate) client_cpu: usize,
    /// CPU of the agent
    #[arg(long)]
    pub(crate) agent_cpu: usize,
}

/// How agents are started here: one worker, on this CPU.
pub(crate) fn agent_on(cpu: usize) -> Options {
    Options::new().arg("--workers").arg("1").under(&["taskset", "--cpu-list", &cpu.to_string()])
}

/// Keeps the calling thread on one CPU.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).context("pinning a thread")
}

/// One figure, for `cargo xtask bench` to read.
pub(crate) fn show(case: &str, subject: &str, metric: &str, value: f64) {
    println!("{case} {subject} {metric} {value:.3}");
}

/// One median, as microseconds.
pub(crate) fn show_p50(case: &str, subject: &str, took: Vec<Duration>) {
    show(case, subject, "p50_us", median(took).as_secs_f64() * 1e6);
}

/// How long each of `count` blocking `connect` calls took, after some that only warm up.
pub(crate) fn connects(target: SocketAddr, count: usize) -> Result<Vec<Duration>> {
    let mut took = Vec::with_capacity(count);
    for n in 0..count + WARM_UP {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
        // Closed by a reset: ports are free again at once.
        socket.set_linger(Some(Duration::ZERO))?;
        let start = Instant::now();
        socket.connect(&target.into()).with_context(|| target.to_string())?;
        if n >= WARM_UP {
            took.push(start.elapsed());
        }
        drop(socket);
        thread::sleep(PAUSE);
    }
    Ok(took)
}

/// A listener for [`take_all`].
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| address.to_string())?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Takes what comes, so that no queue ever fills.
pub(crate) fn take_all(listener: &TcpListener, stop: &AtomicBool) {
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

/// The first ones fill caches and learn neighbours.
const WARM_UP: usize = 200;

/// Lets the agent and the other pod finish with one connection before the next: what is measured is the call, not a queue.
const PAUSE: Duration = Duration::from_micros(300);
