//! `mesh.on_demand` where the kernel takes part: what it serves by itself is the agent's as long as it is cold.

use std::io::{ErrorKind, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use harness::ads::encode::encode;
use harness::ads::message::{CDS, LDS};
use harness::ads::plane::Plane;
use harness::agent::Agent;
use harness::config::{bootstrap, cluster, http2_cluster, own_address, service, tcp, with};
use harness::tcp::echo;
use harness::wire::Wire;
use harness::world::{Pod, World};
use serde_json::{Value, json};

use crate::mesh::options;
use crate::world_or_skip;

/// A service address that nobody has, by its last byte.
fn vip(last: u8) -> SocketAddr {
    (Ipv4Addr::new(10, 96, 0, last), 7).into()
}

fn set(plane: &Plane, kind: &'static str, resources: &[Value]) -> anyhow::Result<()> {
    let message = kind.rsplit('/').next().unwrap_or_default();
    let encoded =
        resources.iter().map(|it| Ok((it["name"].as_str().expect("a name").to_owned(), encode(message, it)?)));
    plane.set(kind, encoded.collect::<anyhow::Result<Vec<_>>>()?);
    Ok(())
}

/// An agent that meshes the client and gets services from `plane`, each to the cluster beside it.
fn start(world: &World, plane: &Plane, services: &[(SocketAddr, &str)]) -> anyhow::Result<Agent> {
    let listener = |(at, to): &(SocketAddr, &str)| with(service(*at, tcp(to)), json!({ "name": to }));
    set(plane, LDS, &services.iter().map(listener).collect::<Vec<_>>())?;
    let ads = json!({ "ads": {}, "resource_api_version": "V3" });
    let server = json!({ "envoy_grpc": { "cluster_name": "plane" } });
    let dynamic = json!({
        "ads_config": { "api_type": "DELTA_GRPC", "transport_api_version": "V3", "grpc_services": [server] },
        "cds_config": ads, "lds_config": ads,
    });
    let config =
        with(bootstrap(&[], &[http2_cluster("plane", &[plane.address()])]), json!({ "dynamic_resources": dynamic }));
    let mut config = world.mesh(&["client"], config);
    config["mesh"]["on_demand"] = json!(true);
    config["mesh"]["on_demand_ttl"] = json!("1s");
    options().inside(&world.agent_cgroup())?.start(config)
}

fn connect(client: &Pod, to: SocketAddr) -> anyhow::Result<Wire> {
    Ok(client.enter(|| Wire::connect(to))?)
}

fn talk(wire: &mut Wire) -> anyhow::Result<()> {
    wire.send("through")?;
    assert_eq!(wire.read_exact(7)?, b"through");
    Ok(())
}

fn eventually(what: &str, agent: &Agent, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !is() {
        assert!(Instant::now() < deadline, "not within 15 s: {what}\n{}", agent.log());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How many connections of this tier are open.
fn open(agent: &Agent, tier: &str) -> usize {
    let connections = agent.admin().json("/connections").unwrap_or_default();
    connections.as_array().map_or(0, |all| all.iter().filter(|it| it["tier"] == tier).count())
}

#[test]
fn the_first_connection_to_a_service_is_held_the_next_are_the_kernels_and_keep_it() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let (client, server) = (world.pod("client"), world.pod("server"));
    let at = server.at(7)[0];
    let _server = server.enter(|| echo(at))?;
    let plane = Plane::start(own_address(0))?;
    set(&plane, CDS, &[cluster("echo", &[at]), cluster("witness", &[at])])?;
    plane.hold(CDS, true);
    let agent = start(&world, &plane, &[(vip(1), "echo"), (vip(2), "witness")])?;
    let mut first = connect(client, vip(1))?;
    first.send("early")?;
    eventually("it is asked for", &agent, || plane.subscribed(CDS) == ["echo"]);
    plane.hold(CDS, false);
    assert_eq!(first.read_exact(5)?, b"early");
    assert_eq!(open(&agent, "T2"), 1, "by the agent, which held it");
    let mut second = connect(client, vip(1))?;
    talk(&mut second)?;
    eventually("the next is the kernel's", &agent, || open(&agent, "T1") == 1);
    drop(first);
    // Another cluster, used later than this one and not any longer, goes; this one is still connected to.
    talk(&mut connect(client, vip(2))?)?;
    eventually("the other is let go", &agent, || {
        plane.times_asked(CDS, "witness") == 1 && plane.subscribed(CDS) == ["echo"]
    });
    talk(&mut second)?;
    drop(second);
    eventually("nobody uses it", &agent, || plane.subscribed(CDS).is_empty());
    talk(&mut connect(client, vip(1))?)?;
    assert_eq!(plane.times_asked(CDS, "echo"), 2);
    Ok(())
}

#[test]
fn a_connection_to_what_does_not_exist_is_reset() -> anyhow::Result<()> {
    let world = world_or_skip!("client");
    let plane = Plane::start(own_address(0))?;
    let agent = start(&world, &plane, &[(vip(1), "gone")])?;
    let wire = connect(world.pod("client"), vip(1))?;
    let start = Instant::now();
    let error = wire.stream().read(&mut [0]).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(agent.admin().metrics()?.sum("bowline_errors_total", &[("kind", "NC")]), 1.0);
    Ok(())
}
