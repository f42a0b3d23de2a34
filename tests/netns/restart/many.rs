//! Ten thousand connections that the kernel sent to an endpoint, all of them in use, and others that come and go, while the agent is
//! killed and started again: not one is reset, and none is refused.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::config::{bootstrap, cluster, service, tcp};
use harness::process::Process;
use serde_json::{Value, json};

use crate::mesh::{options, vips};
use crate::restart::{count, kill};
use crate::world_or_skip;

#[test]
fn connections_in_use_live_through_kill_and_restart() -> anyhow::Result<()> {
    hold(500, 2, &["off"])
}

#[test]
#[ignore = "takes a minute: cargo test -p mesh-tests --test netns ten_thousand -- --ignored --nocapture"]
fn ten_thousand_connections_live_through_kill_and_restart() -> anyhow::Result<()> {
    hold(10_000, 3, &["off", "on"])
}

/// Client and server are a process each, so that a limit of 20,000 descriptors is enough.
fn hold(connections: u64, kills: u32, accelerations: &[&str]) -> anyhow::Result<()> {
    for acceleration in accelerations {
        let world = world_or_skip!("client", "server");
        let (client, server) = (world.pod("client"), world.pod("server"));
        client.enter(|| {
            fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "1")?;
            fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535")
        })?;
        let endpoint = server.at(7)[0];
        let _echo = server.peer(&["tcp-echo", &endpoint.to_string()])?;
        let vip = vips(7)[0];
        let mut config =
            world.mesh(&["client", "server"], bootstrap(&[service(vip, tcp("echo"))], &[cluster("echo", &[endpoint])]));
        config["mesh"]["kernel"]["acceleration"] = json!(acceleration);
        let options = options().inside(&world.agent_cgroup())?;
        let mut agent = options.start(&config)?;

        let mut command = client.command(harness::binaries::peer()?);
        command.args(["hold", &vip.to_string(), "--hold", &connections.to_string()]);
        let mut holder = Process::spawn("hold", command)?;
        let began = Instant::now();
        let mut last = next(&holder, 0)?;
        let opened = began.elapsed();
        for _ in 0..kills {
            kill(&mut agent)?;
            // The round that runs ends, and one is begun and ended without an agent.
            last = next(&holder, round(&last) + 2)?;
            agent = options.start(&config)?;
            last = next(&holder, round(&last) + 2)?;
        }
        println!(
            "acceleration {acceleration}: {connections} connections held ({:.1} s to open), {} rounds over all, {} others came and \
             went, {kills} kills: {} errors",
            opened.as_secs_f64(),
            round(&last) + 1,
            last["opened"],
            last["errors"],
        );
        assert_eq!((&last["errors"], &last["first_error"]), (&json!(0), &json!("")), "{}", agent.log());
        assert!(holder.is_running());
        let direct = count(&agent, "direct")?;
        assert!(
            direct >= (connections as f64) + last["opened"].as_f64().context("a number")?,
            "{direct} past the agent"
        );
        assert_eq!(count(&agent, "steered")? + count(&agent, "passed_no_agent")?, 0.0);
        // Not even what came in while an agent started: it would have ended with that agent.
        assert_eq!(count(&agent, "inbound_steered")?, 0.0);
        let accelerated = count(&agent, "accelerated_sockets")?;
        assert_eq!(accelerated >= 2.0 * connections as f64, *acceleration == "on", "{accelerated} sockets accelerated");
    }
    Ok(())
}

/// What the holder says after this round or, if that is over, a later one.
fn next(holder: &Process, wanted: u64) -> anyhow::Result<Value> {
    let parse = |line: &str| serde_json::from_str::<Value>(line).ok().filter(|line| line["round"].is_u64());
    let line = holder.wait_line(|line| parse(line).is_some_and(|line| round(&line) >= wanted), 3 * MINUTE)?;
    let last = holder.lines().iter().rev().find_map(|line| parse(line)).or_else(|| parse(&line)).context("a round")?;
    ensure!(last["errors"].is_u64(), "{last}");
    Ok(last)
}

fn round(said: &Value) -> u64 {
    said["round"].as_u64().unwrap_or_default()
}

const MINUTE: Duration = Duration::from_secs(60);
