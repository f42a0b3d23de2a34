//! What steering adds to one connect() of a pod.
//!
//! Without an agent no program of ours is in the kernel, with one the same pod is meshed. The connect is the blocking one that
//! programs use, so it ends with the handshake: with the other pod, or with the agent's socket in the pod. With and without
//! take turns often: a machine has slow and fast seconds.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Result;
use harness::config::bootstrap;
use harness::world::{Pod, World};

use crate::pods::{self, Args};

pub(crate) fn run(args: &Args) -> Result<()> {
    let world = World::build(&["app", "server"])?;
    let targets = world.pod("server").at(PORT);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let servers = targets.map(|target| world.pod("server").enter(|| pods::listen(target)));
        for server in servers {
            let (server, stop) = (server?, &stop);
            scope.spawn(move || pods::take_all(&server, stop));
        }
        let done = rounds(args, &world, &targets);
        stop.store(true, Ordering::Relaxed);
        done
    })
}

fn rounds(args: &Args, world: &World, targets: &[SocketAddr; 2]) -> Result<()> {
    let config = world.mesh(&["app"], bootstrap(&[], &[]));
    let agent = pods::agent_on(args.agent_cpu).inside(&world.agent_cgroup())?;
    for _ in 0..args.runs * TURNS {
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
            pods::pin(args.client_cpu)?;
            pods::connects(*target, CONNECTS)
        })?;
        pods::show_p50(case, subject, took);
    }
    Ok(())
}

const PORT: u16 = 8080;
/// In each round.
const TURNS: usize = 5;
const CONNECTS: usize = 1000;
