//! `mesh.on_demand`: what nobody needs is not asked for, and what somebody needs is waited for.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use harness::ads::message::{CDS, EDS, LDS, RDS};
use harness::ads::plane::Plane;
use harness::agent::{Agent, Options};
use harness::config::{all_to, listener, own_address, tcp, with};
use harness::echo::HttpServer;
use harness::tcp::echo;
use harness::wire::{Response, Wire};
use serde_json::{Value, json};

use crate::agent::{eventually, set, who};
use crate::setup::{bootstrap, eds_cluster, endpoints, rds_listener, routes};

/// An agent that gets things on demand, its server, and two servers behind it.
struct Mesh {
    plane: Plane,
    agent: Agent,
    address: SocketAddr,
    one: HttpServer,
    two: HttpServer,
}

impl Mesh {
    /// With a listener whose routes send `/b` to cluster `b` and everything else to `a`.
    fn start(incremental: bool) -> anyhow::Result<Self> {
        Self::start_with(incremental, &[])
    }

    /// With more in the configuration, by JSON pointers.
    fn start_with(incremental: bool, more: &[(&str, Value)]) -> anyhow::Result<Self> {
        let plane = Plane::start(own_address(0))?;
        let (one, two) = (HttpServer::local("one")?, HttpServer::local("two")?);
        let address = own_address(10000);
        set(&plane, CDS, &[eds_cluster("a"), eds_cluster("b"), eds_cluster("other")])?;
        let all = [("a", &one), ("b", &two), ("other", &two)];
        set(&plane, EDS, &all.map(|(name, server)| endpoints(name, &[server.address()])))?;
        set(&plane, LDS, &[rds_listener("l", address, "r")])?;
        set(&plane, RDS, &[routes("r", by_path()), routes("unused", all_to("other"))])?;
        let mut config =
            with(bootstrap("test", incremental, plane.address()), json!({ "mesh": { "on_demand": true } }));
        for (at, value) in more {
            let (parent, field) = at.rsplit_once('/').expect("a pointer");
            config.pointer_mut(parent).expect("it is there")[field] = value.clone();
        }
        let agent = Options::no_kernel().start(config)?;
        Ok(Self { plane, agent, address, one, two })
    }

    fn names(&self, kind: &'static str) -> Vec<String> {
        self.plane.subscribed(kind)
    }

    fn path(&self, path: &str) -> anyhow::Result<Response> {
        ask(self.address, path)?.response()
    }

    fn errors(&self, flag: &str) -> anyhow::Result<f64> {
        Ok(self.agent.admin().metrics()?.sum("bowline_errors_total", &[("kind", flag)]))
    }
}

/// A request that is not answered yet.
fn ask(address: SocketAddr, path: &str) -> anyhow::Result<Wire> {
    let mut wire = Wire::connect(address)?;
    wire.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"))?;
    Ok(wire)
}

fn by_path() -> Value {
    json!([
        { "match": { "prefix": "/b" }, "route": { "cluster": "b" } },
        { "match": { "prefix": "/gone" }, "route": { "cluster": "gone" } },
        { "match": { "prefix": "/" }, "route": { "cluster": "a" } },
    ])
}

#[test]
fn the_time_it_takes_to_come_is_not_the_routes() -> anyhow::Result<()> {
    let mesh = Mesh::start(true)?;
    let route = json!({ "cluster": "a", "timeout": "0.3s" });
    set(&mesh.plane, RDS, &[routes("r", json!([{ "match": { "prefix": "/" }, "route": route }]))])?;
    mesh.plane.hold(CDS, true);
    let mut waiting = ask(mesh.address, "/")?;
    eventually("the cluster is asked for", || mesh.names(CDS) == ["a"]);
    thread::sleep(Duration::from_millis(600));
    mesh.plane.hold(CDS, false);
    assert_eq!(waiting.response()?.status, 200);
    Ok(())
}

/// Where the configuration says how long a cluster may take to come.
const PATIENCE: &str = "/dynamic_resources/cds_config/initial_fetch_timeout";

#[test]
fn only_what_is_needed_is_asked_for_and_the_first_request_waits_for_it() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::start(incremental)?;
        assert!(mesh.names(CDS).is_empty() && mesh.names(EDS).is_empty() && mesh.names(RDS).is_empty());
        assert_eq!(who(mesh.address)?, "one");
        assert_eq!((mesh.names(CDS), mesh.names(RDS)), (vec!["a".to_owned()], vec!["r".to_owned()]));
        assert_eq!(mesh.path("/b")?.status, 200);
        assert_eq!((mesh.one.seen().len(), mesh.two.seen().len()), (1, 1));
        assert_eq!((mesh.names(CDS), mesh.names(EDS)), (vec!["a".to_owned(), "b".to_owned()], mesh.names(CDS)));
        // What is there is updated like anything else.
        let version = set(&mesh.plane, EDS, &[endpoints("a", &[mesh.two.address()])])?;
        assert_eq!(mesh.plane.answer(EDS, version)?, None);
        assert_eq!(who(mesh.address)?, "two");
        eventually("it is told", || {
            let view = mesh.agent.admin().json("/config").unwrap_or_default();
            view["on_demand"]
                == json!({ "clusters": 2, "routes": 1, "virtual_hosts": 0, "warming": 0, "missing": 0, "cold": 1, "expired": 0 })
        });
        let metrics = mesh.agent.admin().metrics()?;
        assert_eq!(metrics.sum("bowline_on_demand_held_total", &[]), 3.0, "routes, a, b");
        assert_eq!(metrics.sum("bowline_on_demand_asked_total", &[]), 3.0);
    }
    Ok(())
}

#[test]
fn a_cluster_comes_with_its_endpoints_in_one_round_trip() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::start(incremental)?;
        assert_eq!(who(mesh.address)?, "one");
        // Nobody has heard of the cluster when its endpoints are asked for.
        mesh.plane.hold(CDS, true);
        let mut waiting = ask(mesh.address, "/b")?;
        eventually("both are asked for", || {
            mesh.names(CDS).contains(&"b".to_owned()) && mesh.names(EDS).contains(&"b".to_owned())
        });
        mesh.plane.hold(CDS, false);
        assert_eq!(waiting.response()?.status, 200);
        assert_eq!(mesh.plane.times_asked(EDS, "b"), 1);
    }
    Ok(())
}

#[test]
fn what_does_not_exist_is_answered_for_and_is_used_if_it_comes_later() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::start_with(incremental, &[(PATIENCE, json!("1s"))])?;
        assert_eq!(who(mesh.address)?, "one");
        let start = Instant::now();
        assert_eq!(mesh.path("/gone")?.status, 503);
        // Delta says so at once, and state of the world never does.
        let took = start.elapsed();
        assert_eq!(took < Duration::from_millis(900), incremental, "{took:?}");
        assert!(took < Duration::from_secs(4), "{took:?}");
        assert_eq!(mesh.errors("NC")?, 1.0);
        // From then on nobody waits for it.
        let start = Instant::now();
        (0..5).try_for_each(|_| mesh.path("/gone").map(|answer| assert_eq!(answer.status, 503)))?;
        assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
        set(&mesh.plane, EDS, &[endpoints("gone", &[mesh.two.address()])])?;
        let version = set(&mesh.plane, CDS, &[eds_cluster("gone")])?;
        assert_eq!(mesh.plane.answer(CDS, version)?, None);
        eventually("it came", || mesh.path("/gone").is_ok_and(|answer| answer.status == 200));
    }
    Ok(())
}

#[test]
fn routes_that_do_not_exist_are_no_routes() -> anyhow::Result<()> {
    let mesh = Mesh::start(true)?;
    let address = own_address(10000);
    let version = set(&mesh.plane, LDS, &[rds_listener("x", address, "nobody")])?;
    assert_eq!(mesh.plane.answer(LDS, version)?, None);
    let asked = || ask(address, "/").and_then(|mut wire| wire.response());
    eventually("it is answered", || asked().is_ok_and(|answer| answer.status == 404));
    assert_eq!(mesh.names(RDS), ["nobody"]);
    Ok(())
}

#[test]
fn what_is_refused_is_not_waited_for() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::start(incremental)?;
        let bad = with(eds_cluster("b"), json!({ "circuit_breakers": { "per_host_thresholds": [{}] } }));
        set(&mesh.plane, CDS, &[bad])?;
        let start = Instant::now();
        assert_eq!(mesh.path("/b")?.status, 503);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
    Ok(())
}

#[test]
fn without_its_server_the_first_request_is_refused_in_time_and_a_later_one_is_not() -> anyhow::Result<()> {
    let mesh = Mesh::start_with(true, &[(PATIENCE, json!("1s"))])?;
    assert_eq!(who(mesh.address)?, "one");
    let Mesh { plane, address, one, two, agent: _agent } = mesh;
    let at = plane.address();
    drop(plane);
    let start = Instant::now();
    assert_eq!(ask(address, "/b")?.response()?.status, 503);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(who(address)?, "one", "what is there stays");
    let again = own_plane(at)?;
    set(&again, LDS, &[rds_listener("l", address, "r")])?;
    set(&again, RDS, &[routes("r", by_path())])?;
    set(&again, CDS, &[eds_cluster("a"), eds_cluster("b")])?;
    set(&again, EDS, &[endpoints("a", &[one.address()]), endpoints("b", &[two.address()])])?;
    eventually("it came", || ask(address, "/b").and_then(|mut it| it.response()).is_ok_and(|it| it.status == 200));
    Ok(())
}

/// A server where another has been until now.
fn own_plane(at: SocketAddr) -> anyhow::Result<Plane> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match Plane::start(at) {
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(10)),
            Ok(plane) => return Ok(plane),
        }
    }
}

#[test]
fn a_thousand_requests_for_one_cluster_ask_for_it_once() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::start(incremental)?;
        assert_eq!(who(mesh.address)?, "one");
        mesh.plane.hold(CDS, true);
        let mut waiting = (0..1000).map(|_| ask(mesh.address, "/b")).collect::<anyhow::Result<Vec<_>>>()?;
        let held = || -> anyhow::Result<f64> {
            Ok(mesh.agent.admin().metrics()?.sum("bowline_on_demand_resources", &[("state", "warming")]))
        };
        eventually("it is waited for", || held().is_ok_and(|warming| warming == 1.0));
        mesh.plane.hold(CDS, false);
        for wire in &mut waiting {
            assert_eq!(wire.response()?.status, 200);
        }
        assert_eq!((mesh.plane.times_asked(CDS, "b"), mesh.plane.times_asked(EDS, "b")), (1, 1));
        assert_eq!(mesh.two.seen().len(), 1000);
    }
    Ok(())
}

#[test]
fn the_first_bytes_of_a_connection_wait_and_one_to_nothing_is_closed() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::start_with(incremental, &[(PATIENCE, json!("1s"))])?;
        let server = echo(own_address(0))?;
        let (bytes, nothing) = (own_address(10000), own_address(10000));
        let named = |name: &str, address, cluster| with(listener(address, tcp(cluster)), json!({ "name": name }));
        set(&mesh.plane, EDS, &[endpoints("e", &[server.address()])])?;
        set(&mesh.plane, CDS, &[eds_cluster("e")])?;
        mesh.plane.hold(CDS, true);
        let version = set(&mesh.plane, LDS, &[named("bytes", bytes, "e"), named("nothing", nothing, "gone")])?;
        assert_eq!(mesh.plane.answer(LDS, version)?, None);
        assert!(mesh.names(CDS).is_empty());
        eventually("it listens", || Wire::connect(nothing).is_ok());
        let mut early = Wire::connect(bytes)?;
        early.send("before anything is there")?;
        eventually("it is asked for", || mesh.names(CDS).contains(&"e".to_owned()));
        mesh.plane.hold(CDS, false);
        assert_eq!(early.read_exact(24)?, b"before anything is there");
        early.finish()?;
        assert!(early.read_to_end()?.is_empty());
        assert!(Wire::connect(nothing)?.closes_within(Duration::from_secs(4)));
        assert!(mesh.errors("NC")? >= 1.0);
    }
    Ok(())
}

#[test]
fn what_nobody_uses_is_let_go_and_comes_again() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::start_with(incremental, &[("/mesh/on_demand_ttl", json!("1s"))])?;
        let server = echo(own_address(0))?;
        let bytes = own_address(10000);
        set(&mesh.plane, EDS, &[endpoints("e", &[server.address()])])?;
        set(&mesh.plane, CDS, &[eds_cluster("e")])?;
        let version = set(&mesh.plane, LDS, &[with(listener(bytes, tcp("e")), json!({ "name": "bytes" }))])?;
        assert_eq!(mesh.plane.answer(LDS, version)?, None);
        eventually("it listens", || Wire::connect(bytes).is_ok());
        let mut open = Wire::connect(bytes)?;
        open.send("x")?;
        open.read_exact(1)?;
        assert_eq!(who(mesh.address)?, "one");
        eventually("only what a connection is open to stays", || {
            mesh.names(CDS) == ["e"] && mesh.names(EDS) == ["e"] && mesh.names(RDS).is_empty()
        });
        assert_eq!(who(mesh.address)?, "one", "needed again, and there again");
        assert_eq!((mesh.plane.times_asked(CDS, "a"), mesh.plane.times_asked(RDS, "r")), (2, 2));
        open.send("y")?;
        assert_eq!(open.read_exact(1)?, b"y");
        open.finish()?;
        eventually("nothing is wanted", || mesh.names(CDS).is_empty() && mesh.names(EDS).is_empty());
        assert!(mesh.agent.admin().metrics()?.sum("bowline_on_demand_expired_total", &[]) >= 4.0);
    }
    Ok(())
}

#[test]
fn a_cluster_of_names_is_waited_for_until_they_are_looked_up() -> anyhow::Result<()> {
    let mesh = Mesh::start(true)?;
    let server = HttpServer::start("127.0.0.1:0".parse()?, "three")?;
    let address = json!({ "address": "localhost", "port_value": server.address().port() });
    let endpoint = json!({ "endpoint": { "address": { "socket_address": address } } });
    let names = json!({
        "name": "b", "type": "STRICT_DNS", "connect_timeout": "1s", "dns_lookup_family": "V4_ONLY",
        "load_assignment": { "cluster_name": "b", "endpoints": [{ "lb_endpoints": [endpoint] }] },
    });
    set(&mesh.plane, CDS, &[names])?;
    assert_eq!(mesh.path("/b")?.status, 200);
    assert_eq!(server.seen().len(), 1);
    Ok(())
}

#[test]
fn listeners_of_the_file_may_name_what_comes_on_demand() -> anyhow::Result<()> {
    let address = own_address(10000);
    let own = json!([listener(address, tcp("a"))]);
    let mesh = Mesh::start_with(true, &[("/static_resources/listeners", own)])?;
    assert!(mesh.names(CDS).is_empty());
    assert_eq!(ask(address, "/")?.response()?.status, 200);
    assert_eq!(mesh.names(CDS), ["a"]);
    Ok(())
}

#[test]
fn on_demand_needs_somebody_to_ask() -> anyhow::Result<()> {
    let output = Options::no_kernel().refuse(json!({ "mesh": { "on_demand": true } }))?;
    let text = output.lines.join("\n");
    assert!(text.contains("mesh.on_demand") && text.contains("cds_config"), "{text}");
    Ok(())
}

/// Resident memory of a process, in kilobytes.
fn resident(pid: u32) -> anyhow::Result<i64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("resident memory")?;
    Ok(line.trim_end_matches("kB").trim().parse()?)
}

/// Memory of an agent whose server has so many clusters of ten endpoints each, when twenty of them have been used.
fn twenty_in_use_of(clusters: usize, on_demand: bool) -> anyhow::Result<i64> {
    let plane = Plane::start(own_address(0))?;
    let server = HttpServer::local("one")?;
    let address = own_address(10000);
    let name = |index| format!("outbound|8080||service-{index}.default.svc.cluster.local");
    let all: Vec<_> = (0..clusters).map(name).collect();
    set(&plane, CDS, &all.iter().map(|name| eds_cluster(name)).collect::<Vec<_>>())?;
    set(&plane, EDS, &all.iter().map(|name| endpoints(name, &[server.address(); 10])).collect::<Vec<_>>())?;
    let route = |index: usize| json!({ "match": { "path": format!("/{index}") }, "route": { "cluster": name(index) } });
    set(&plane, RDS, &[routes("r", (0..20).map(route).collect())])?;
    set(&plane, LDS, &[rds_listener("l", address, "r")])?;
    let config = with(bootstrap("test", true, plane.address()), json!({ "mesh": { "on_demand": on_demand } }));
    let agent = Options::no_kernel().start(config)?;
    for index in 0..20 {
        assert_eq!(ask(address, &format!("/{index}"))?.response()?.status, 200);
    }
    assert_eq!(plane.subscribed(CDS).len(), if on_demand { 20 } else { 0 });
    resident(agent.pid())
}

#[test]
fn what_is_not_used_takes_no_memory() -> anyhow::Result<()> {
    let (small, large) = (twenty_in_use_of(20, false)?, twenty_in_use_of(10_000, true)?);
    eprintln!("resident: {small} kB with 20 clusters, {large} kB with 20 of 10,000");
    assert!(large - small < 5 << 10, "{small} kB, {large} kB");
    Ok(())
}
