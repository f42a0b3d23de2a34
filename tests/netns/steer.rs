//! What the kernel steers, what it leaves alone, and which addresses both ends see.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use harness::config::{agent_tcp, all_to, bootstrap, cluster, http, service, tcp, with};
use harness::echo::HttpServer;
use harness::tcp::echo;
use harness::wire::Wire;
use serde_json::{Value, json};

use crate::mesh::{get, mesh, options, vips};
use crate::world_or_skip;

#[test]
fn a_service_address_leads_to_its_listener() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let (client, server) = (world.pod("client"), world.pod("server"));
    let servers = server.enter(|| server.at(8080).map(|address| HttpServer::start(address, "server")));
    let [v4, v6] = servers.map(|server| server.expect("a free address"));
    let listeners = vips(80).map(|vip| service(vip, http(all_to("server"))));
    let agent = mesh(&world, &["client", "server"], &listeners, &[cluster("server", &server.at(8080))])?;
    for vip in vips(80) {
        for n in 0..10 {
            let (response, peer) = get(client, vip, &format!("/{n}"))?;
            assert_eq!(response.status, 200, "{}", agent.log());
            assert_eq!(response.json()["uri"], format!("/{n}"));
            assert_eq!(peer, vip, "the app sees the address it asked for");
        }
    }
    assert_eq!(v4.seen().len() + v6.seen().len(), 20);
    assert!(!v4.seen().is_empty() && !v6.seen().is_empty(), "both endpoints got their share");
    Ok(())
}

#[test]
fn a_mapped_address_is_steered_too() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let (client, server) = (world.pod("client"), world.pod("server"));
    let _server = server.enter(|| HttpServer::start(server.at(8080)[0], "server"))?;
    let listeners = [service(vips(80)[0], http(all_to("server")))];
    let _agent = mesh(&world, &["client"], &listeners, &[cluster("server", &server.at(8080)[..1])])?;
    // As Java and Go do: an IPv6 socket for an IPv4 address.
    let mapped = SocketAddr::new(IpAddr::V6(Ipv4Addr::new(10, 96, 0, 1).to_ipv6_mapped()), 80);
    let (response, peer) = get(client, mapped, "/")?;
    assert_eq!(response.status, 200);
    assert_eq!(peer, mapped);
    Ok(())
}

#[test]
fn what_no_listener_claims_passes() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let (client, server) = (world.pod("client"), world.pod("server"));
    let agent = mesh(&world, &["client"], &[], &[])?;
    for address in server.at(7) {
        let _server = server.enter(|| echo(address))?;
        client.enter(|| -> anyhow::Result<()> {
            let mut wire = Wire::connect(address)?;
            assert_eq!(wire.stream().peer_addr()?, address);
            wire.send("through")?;
            wire.finish()?;
            assert_eq!(wire.read_to_end()?, b"through");
            Ok(())
        })?;
    }
    assert_eq!(agent.admin().metrics()?.sum("bowline_passthrough_connections_total", &[]), 2.0);
    Ok(())
}

#[test]
fn nobody_at_the_other_end_is_an_end() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let (client, server) = (world.pod("client"), world.pod("server"));
    let _agent = mesh(&world, &["client"], &[], &[])?;
    let closed = client.enter(|| match Wire::connect(server.at(9)[0]) {
        // Refused at once, or taken by the agent, which then finds nobody.
        Err(_) => true,
        Ok(mut wire) => wire.closes_within(Duration::from_secs(3)),
    });
    assert!(closed);
    Ok(())
}

#[test]
fn the_server_sees_the_true_client() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server", "outsider");
    let server = world.pod("server");
    let [v4, v6] = server.at(7);
    let _process = server.peer(&["who-am-i", &v4.to_string(), &v6.to_string()])?;
    let listeners = vips(7).map(|vip| service(vip, agent_tcp("server")));
    let clusters = [cluster("server", &[v4])];
    let agent = mesh(&world, &["client", "server"], &listeners, &clusters)?;
    let seen = |from: &str, to: SocketAddr| {
        world.pod(from).enter(|| -> anyhow::Result<_> {
            let mut wire = Wire::connect(to)?;
            let (local, line) = (wire.stream().local_addr()?, String::from_utf8(wire.read_until(b"\n")?)?);
            let addresses = line.trim().split(' ').map(str::parse).collect::<Result<Vec<SocketAddr>, _>>()?;
            Ok((local, addresses))
        })
    };
    // A pod of the mesh, by the service's and by the server's own address; and one that isn't meshed.
    for (from, to) in [("client", vips(7)[0]), ("client", v4), ("client", v6), ("outsider", v4), ("outsider", v6)] {
        let (local, addresses) = seen(from, to)?;
        let pod = world.pod(from).at(local.port());
        for address in addresses {
            assert!(
                pod.iter().any(|own| own.ip() == address.ip()),
                "{from} to {to} is seen as {address}: {}",
                agent.log()
            );
            if from == "outsider" {
                assert_eq!(address.port(), local.port(), "an address of nobody's");
            }
        }
    }
    Ok(())
}

#[test]
fn loopback_is_left_alone() -> anyhow::Result<()> {
    let world = world_or_skip!("client");
    let client = world.pod("client");
    let agent = mesh(&world, &["client"], &[], &[])?;
    for address in ["127.0.0.1:7", "[::1]:7"] {
        let address = address.parse()?;
        let server = client.enter(|| echo(address))?;
        let local = client.enter(|| -> anyhow::Result<_> {
            let mut wire = Wire::connect(address)?;
            wire.send("x")?;
            wire.read_exact(1)?;
            Ok(wire.stream().local_addr()?)
        })?;
        assert_eq!(server.clients(), [local]);
    }
    assert_eq!(agent.admin().metrics()?.sum("bowline_downstream_connections_total", &[]), 0.0);
    Ok(())
}

#[test]
fn exclusions_are_left_alone() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let (client, server) = (world.pod("client"), world.pod("server"));
    let kernel = json!({
        "pin_path": world.pin_path(),
        "exclude_ports": [7],
        "exclude_cidrs": ["fd00:244::/64"],
    });
    let mut config = world.mesh(&["client"], bootstrap(&[], &[]));
    config["mesh"] = with(config["mesh"].clone(), json!({ "kernel": kernel }));
    let agent = options().start(config)?;
    let counted = |agent: &harness::agent::Agent| -> anyhow::Result<f64> {
        Ok(agent.admin().metrics()?.sum("bowline_downstream_connections_total", &[]))
    };
    for (address, steered) in [(server.at(7)[0], 0.0), (server.at(8)[1], 0.0), (server.at(8)[0], 1.0)] {
        let _server = server.enter(|| echo(address))?;
        let before = counted(&agent)?;
        client.enter(|| -> anyhow::Result<()> {
            let mut wire = Wire::connect(address)?;
            wire.send("x")?;
            wire.read_exact(1)?;
            Ok(())
        })?;
        assert_eq!(counted(&agent)? - before, steered, "{address}");
    }
    Ok(())
}

#[test]
fn a_pod_outside_the_mesh_knows_no_service() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "outsider");
    let _agent = mesh(&world, &["client"], &[service(vips(80)[0], http(json!([])))], &[])?;
    assert!(world.pod("outsider").enter(|| Wire::connect(vips(80)[0])).is_err());
    assert_eq!(get(world.pod("client"), vips(80)[0], "/")?.0.status, 404);
    Ok(())
}

#[test]
fn workloads_of_the_hosts_namespace_are_told_by_cgroup() -> anyhow::Result<()> {
    let world = world_or_skip!("server");
    // A cgroup of this world, without its namespace.
    let cgroup = world.pod("server").cgroup().with_file_name("on-host");
    std::fs::create_dir(&cgroup)?;
    let server = HttpServer::local("server")?;
    // HTTP: what the kernel can serve alone, the agent would not count.
    let listeners = [service(vips(80)[0], http(all_to("server")))];
    let mut config = world.mesh(&[], bootstrap(&listeners, &[cluster("server", &[server.address()])]));
    let name = format!("{}/on-host", world.tag());
    config["mesh"]["workloads"] = json!([{ "name": "on-host", "cgroup": name, "addresses": [] }]);
    let agent = options().start(config)?;
    let connect = |joins: bool| {
        let script = if joins { r#"echo 0 >"$0/cgroup.procs"; exec "$@""# } else { r#"exec "$@""# };
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script]).arg(&cgroup).arg(harness::binaries::peer()?);
        command.arg("connect").arg(vips(80)[0].to_string());
        harness::process::Process::spawn("mesh-peer", command)?.output(Duration::from_secs(10))
    };
    let inside = connect(true)?;
    assert!(inside.status.success(), "{}\n{}", inside.text(), agent.log());
    let ends: Value = serde_json::from_str(&inside.lines[0])?;
    assert_eq!(ends["peer"], vips(80)[0].to_string());
    let steered = || anyhow::Ok(agent.admin().metrics()?.sum("bowline_downstream_connections_total", &[]));
    // The client's end says nothing of when the agent has accepted.
    let deadline = Instant::now() + Duration::from_secs(5);
    while steered()? < 1.0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(steered()?, 1.0);
    // Whatever becomes of it: the host may have a route to anywhere.
    connect(false)?;
    assert_eq!(steered()?, 1.0, "the rest of the host isn't meshed");
    Ok(())
}

#[test]
fn what_the_kernel_serves_is_listed_as_such() -> anyhow::Result<()> {
    let world = world_or_skip!("client", "server");
    let (client, server) = (world.pod("client"), world.pod("server"));
    let at = server.at(7)[0];
    let _server = server.enter(|| echo(at))?;
    let agent = mesh(&world, &["client"], &[service(vips(7)[0], tcp("echo"))], &[cluster("echo", &[at])])?;
    let mut wire = client.enter(|| Wire::connect(vips(7)[0]))?;
    wire.send("through")?;
    assert_eq!(wire.read_exact(7)?, b"through");
    let deadline = Instant::now() + Duration::from_secs(5);
    let listed = loop {
        let connections = agent.admin().json("/connections")?;
        match connections.as_array().and_then(|list| list.first().cloned()) {
            Some(listed) => break listed,
            None => assert!(Instant::now() < deadline, "nothing listed: {}", agent.log()),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!((&listed["tier"], &listed["destination"]), (&json!("T1"), &json!("echo")), "{listed}");
    assert_eq!(listed["original_destination"], vips(7)[0].to_string(), "{listed}");
    Ok(())
}
