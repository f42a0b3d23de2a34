//! How full the kernel's maps are and what its programs cost, as the agent's metrics say it.

use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::agent::Agent;
use harness::config::{agent_tcp, bootstrap, cluster, service, tcp};
use harness::metrics::Metrics;
use harness::tcp::echo;
use harness::wire::Wire;
use harness::world::World;
use serde_json::{Value, json};

use crate::mesh::{options, vips};
use crate::world_or_skip;

/// An agent that carries port 80 itself and leaves port 81 to the kernel, with these fields of `mesh.kernel`.
fn start(world: &World, fields: Value) -> anyhow::Result<Agent> {
    let server = world.pod("server");
    let carried = vips(80).map(|vip| service(vip, agent_tcp("server4")));
    // The kernel does not bridge families: each address has endpoints of its own.
    let [direct4, direct6] = vips(81);
    let direct = [service(direct4, tcp("server4")), service(direct6, tcp("server6"))];
    let listeners: Vec<_> = carried.into_iter().chain(direct).collect();
    let [server4, server6] = server.at(7);
    let clusters = [cluster("server4", &[server4]), cluster("server6", &[server6])];
    let mut config = world.mesh(&["client", "server"], bootstrap(&listeners, &clusters));
    if let (Some(Value::Object(kernel)), Value::Object(fields)) = (config.pointer_mut("/mesh/kernel"), fields) {
        kernel.extend(fields);
    }
    options().inside(&world.agent_cgroup())?.start(config)
}

fn entries(metrics: &Metrics, map: &str) -> f64 {
    metrics.sum("bowline_kernel_map_entries", &[("map", map)])
}

fn runs(metrics: &Metrics, program: &str) -> (f64, f64) {
    let of = |name| metrics.sum(name, &[("program", program)]);
    (of("bowline_kernel_program_runs_total"), of("bowline_kernel_program_run_seconds_total"))
}

/// The kernel is asked every ten seconds.
fn wait(agent: &Agent, what: &str, is_so: impl Fn(&Metrics) -> bool) -> anyhow::Result<Metrics> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let metrics = agent.admin().metrics()?;
        if is_so(&metrics) {
            return Ok(metrics);
        }
        ensure!(Instant::now() < deadline, "not in time: {what}\n{:?}\n{}", metrics, agent.log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn levels_and_runs_follow_what_happens() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let (client, server) = (world.pod("client"), world.pod("server"));
    let _servers = server.enter(|| server.at(7).map(echo)).map(|server| server.expect("a free address"));
    let agent = start(&world, json!({ "acceleration": "on", "stats": true }))?;
    let before = wait(&agent, "a first look", |metrics| entries(metrics, "OUTBOUND") == 4.0)?;
    for (map, level) in [("NETNS", 2.0), ("CGROUPS", 0.0), ("LOCALS", 4.0), ("SERVICES", 2.0), ("CHOICES", 2.0)] {
        assert_eq!(entries(&before, map), level, "{map}");
    }
    for sample in before.named("bowline_kernel_map_entries") {
        let max = before.sum("bowline_kernel_map_max_entries", &[("map", sample.label("map"))]);
        assert!(sample.value <= max && max > 1.0, "{sample:?} of {max}");
    }
    let connections = client.enter(|| (0..20).map(|_| Wire::connect(vips(80)[0])).collect::<Result<Vec<_>, _>>())?;
    // Each has an app's end and the agent's; those to the server are the agent's to an app.
    let during = wait(&agent, "pairs", |metrics| entries(metrics, "PAIRS") >= 20.0)?;
    assert!(entries(&during, "SOCKETS") >= 40.0, "both ends of each: {during:?}");
    let ((count, time), (more, longer)) = (runs(&before, "connect4"), runs(&during, "connect4"));
    assert!(more >= count + 20.0 && longer > time, "{count} runs of {time} s, then {more} of {longer} s");
    assert!(runs(&during, "inbound").0 >= 20.0, "what the agent delivers comes in");
    drop(connections);
    wait(&agent, "no pairs", |metrics| entries(metrics, "PAIRS") == 0.0 && entries(metrics, "SOCKETS") == 0.0)?;
    client.die()?;
    wait(&agent, "one workload less", |metrics| entries(metrics, "NETNS") == 1.0 && entries(metrics, "LOCALS") == 2.0)?;
    Ok(())
}

#[test]
fn runs_are_not_collected_unless_asked_for() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    if std::fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled")?.trim() != "0" {
        eprintln!("skipped: this machine collects them anyway");
        return Ok(());
    }
    let agent = start(&world, json!({}))?;
    let metrics = wait(&agent, "a first look", |metrics| entries(metrics, "OUTBOUND") == 4.0)?;
    assert_eq!(metrics.named("bowline_kernel_program_runs_total").count(), 0);
    assert_eq!(metrics.named("bowline_kernel_map_entries").filter(|it| it.label("map") == "PAIRS").count(), 0);
    Ok(())
}
