//! Connects without number: what a connection leaves in the kernel, or in the agent, would add up.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use harness::config::{all_to, cluster, detecting, http, service, tcp};
use harness::footprint::{Footprint, map_entries};
use harness::process::Process;

use crate::mesh::{mesh, vips};
use crate::world_or_skip;

#[test]
fn connects_leave_nothing() -> anyhow::Result<()> {
    endure(20_000)
}

#[test]
#[ignore = "takes many minutes: cargo test -p mesh-tests --test netns ten_million -- --ignored --nocapture"]
fn ten_million_connects_leave_nothing() -> anyhow::Result<()> {
    endure(10_000_000)
}

/// Half of the connections stay in the kernel (T1), half are steered to the agent.
fn endure(connections: u64) -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let (client, server) = (world.pod("client"), world.pod("server"));
    let address = server.at(7000)[0];
    let _echo = server.peer(&["tcp-echo", &address.to_string()])?;
    let listeners =
        [service(vips(7)[0], tcp("echo")), detecting(vips(8)[0], http(all_to("echo")), tcp("echo"), "0.1s")];
    let agent = mesh(&world, &["client"], &listeners, &[cluster("echo", &[address])])?;
    let storm = |connections: u64| -> anyhow::Result<()> {
        let mut command = client.command(harness::binaries::peer()?);
        let targets = [vips(7)[0], vips(8)[0]].map(|target| target.to_string());
        command.args(["storm", "--connections", &connections.to_string()]).args(targets);
        // A tenth of what is usual, for machines that are busy.
        let patience = Duration::from_secs(60 + connections / 1000);
        let output = Process::spawn("storm", command)?.output(patience)?;
        println!("{}", output.text());
        anyhow::ensure!(output.status.success(), "{}\n{}", output.text(), agent.log());
        Ok(())
    };
    // What is allocated once, by the first connections, is no leak.
    storm(connections / 10)?;
    let before = Left::now(agent.pid())?;
    storm(connections)?;
    let after = Left::now(agent.pid())?;
    println!("before: {before:?}\nafter: {after:?}");
    assert_eq!(after.entries, before.entries, "map entries");
    assert!(after.descriptors <= before.descriptors, "descriptors");
    assert!(after.resident_kib <= before.resident_kib + before.resident_kib / 10 + 1024, "the agent's memory");
    // Other tests run beside this one: only a leak for each connection would show, and a socket takes two KiB at least.
    let grown = after.slab_kib.saturating_sub(before.slab_kib);
    assert!(grown < 65_536 + connections / 10, "the kernel's memory grew by {grown} KiB");
    Ok(())
}

/// What connections could leave behind.
#[derive(Debug)]
struct Left {
    entries: Vec<(String, usize)>,
    descriptors: usize,
    resident_kib: u64,
    slab_kib: u64,
}

impl Left {
    /// Once what has ended is closed.
    fn now(agent: u32) -> anyhow::Result<Self> {
        // The kernel frees sockets and their storage after a grace period.
        std::thread::sleep(Duration::from_secs(2));
        let footprint = Footprint::of(agent)?;
        Ok(Self {
            entries: map_entries(&footprint.maps)?,
            descriptors: footprint.descriptors,
            resident_kib: footprint.resident_kib,
            slab_kib: memory("SUnreclaim")?,
        })
    }
}

/// A line of `/proc/meminfo`.
fn memory(name: &str) -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let fields: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(':')).collect();
    fields.get(name).and_then(|value| value.split_whitespace().next()?.parse().ok()).context("/proc/meminfo")
}
