//! Many connections for some time through one pod's outbound path: no error, and nothing left of them.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::config::{agent_tcp, cluster, service};
use harness::footprint::{Footprint, map_entries};

use crate::mesh::{mesh, vips};
use crate::world_or_skip;

/// How much.
struct Load {
    hold: u64,
    rate: u64,
    seconds: u64,
    /// How much longer than that it may take to open and close them all.
    patience: Duration,
}

#[test]
fn soak_small() -> anyhow::Result<()> {
    soak(&Load { hold: 500, rate: 200, seconds: 4, patience: MINUTE })
}

#[test]
#[ignore = "takes two minutes: cargo test -p mesh-tests --test netns soak_in_full -- --ignored --nocapture"]
fn soak_in_full() -> anyhow::Result<()> {
    // The agent has two descriptors for each connection, and needs some for those that come and go.
    let most = descriptor_limit()?.saturating_sub(3000) / 2;
    let hold = most.min(10_000);
    if hold < 10_000 {
        println!("a process of this machine has no more descriptors than for {hold} connections at once");
    }
    soak(&Load { hold, rate: 1000, seconds: 60, patience: MINUTE })
}

#[test]
#[ignore = "takes 23,000 descriptors, which a machine of its own has: cargo xtask vm --soak"]
fn soak_held() -> anyhow::Result<()> {
    let limit = descriptor_limit()?;
    anyhow::ensure!(limit >= 23_000, "a process of this machine has {limit} descriptors");
    // In an emulated machine: all the connections, and few that come and go.
    soak(&Load { hold: 10_000, rate: 20, seconds: 5, patience: 10 * MINUTE })
}

fn soak(load: &Load) -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let (client, server) = (world.pod("client"), world.pod("server"));
    for pod in [client, server] {
        // The ports of connections that have ended are kept for a minute; at this rate more are needed than there are.
        pod.enter(|| {
            fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "1")?;
            fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535")
        })?;
    }
    let address = server.at(7000)[0];
    let _echo = server.peer(&["tcp-echo", &address.to_string()])?;
    let listeners = [service(vips(7)[0], agent_tcp("echo"))];
    let agent = mesh(&world, &["client", "server"], &listeners, &[cluster("echo", &[address])])?;
    let run = |load: &Load, seconds: u64| -> anyhow::Result<()> {
        let target = vips(7)[0].to_string();
        let numbers = [load.hold, load.rate, seconds].map(|number| number.to_string());
        let [hold, rate, lasting] = &numbers;
        let words = ["soak", &target, "--hold", hold, "--rate", rate, "--seconds", lasting];
        let mut command = client.command(harness::binaries::peer()?);
        command.args(words);
        let soak = harness::process::Process::spawn("soak", command)?;
        let output = soak.output(Duration::from_secs(seconds) + load.patience)?;
        println!("{}", output.text());
        anyhow::ensure!(output.status.success(), "{}\n{}", output.text(), agent.log());
        Ok(())
    };
    // What is allocated once, by the first connections, is no leak.
    run(load, 1)?;
    let maps = Footprint::of(agent.pid())?.maps;
    settle(agent.pid(), |_| true)?;
    let (before, entries) = (Footprint::of(agent.pid())?, map_entries(&maps)?);
    run(load, load.seconds)?;
    let after = settle(agent.pid(), |now| now.descriptors <= before.descriptors)?;
    println!("resident: {} KiB before, {} KiB after", before.resident_kib, after.resident_kib);
    println!(
        "descriptors: {} before, {} after; map entries before: {entries:?}",
        before.descriptors, after.descriptors
    );
    assert!(
        after.descriptors <= before.descriptors,
        "{} descriptors, {} before",
        after.descriptors,
        before.descriptors
    );
    assert_eq!(map_entries(&maps)?, entries, "map entries");
    assert!(after.resident_kib * 10 <= before.resident_kib * 11, "memory");
    Ok(())
}

/// Waits until the agent has closed what ended, at most 5 s, and looks at it.
fn settle(pid: u32, done: impl Fn(&Footprint) -> bool) -> anyhow::Result<Footprint> {
    std::thread::sleep(Duration::from_millis(500));
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let now = Footprint::of(pid)?;
        if done(&now) || Instant::now() > deadline {
            return Ok(now);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn descriptor_limit() -> anyhow::Result<u64> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find(|line| line.starts_with("Max open files")).context("limits")?;
    line.split_whitespace().nth(4).and_then(|hard| hard.parse().ok()).context("limits")
}

const MINUTE: Duration = Duration::from_secs(60);
