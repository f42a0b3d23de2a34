//! The whole agent, fed by a management server: what its clients get, and what the server hears.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use harness::ads::encode::encode;
use harness::ads::message::{CDS, EDS, LDS, RDS};
use harness::ads::plane::Plane;
use harness::agent::{Agent, Options};
use harness::config::{all_to, own_address, with};
use harness::echo::HttpServer;
use harness::wire::{Response, Wire};
use serde_json::{Value, json};

use crate::rig::WAIT;
use crate::setup::{bootstrap, eds_cluster, endpoints, rds_listener, routes};

/// An agent, its server, and what is behind it.
pub(crate) struct Mesh {
    pub(crate) plane: Plane,
    pub(crate) agent: Agent,
    pub(crate) address: SocketAddr,
    pub(crate) one: HttpServer,
    pub(crate) two: HttpServer,
}

impl Mesh {
    /// With listener, routes, cluster and endpoints, each a resource of its own: everything to `one`.
    pub(crate) fn start(incremental: bool) -> anyhow::Result<Self> {
        let plane = Plane::start(own_address(0))?;
        let (one, two) = (HttpServer::local("one")?, HttpServer::local("two")?);
        let address = own_address(10000);
        set(&plane, CDS, &[eds_cluster("a")])?;
        set(&plane, EDS, &[endpoints("a", &[one.address()])])?;
        set(&plane, LDS, &[rds_listener("l", address, "r")])?;
        set(&plane, RDS, &[routes("r", all_to("a"))])?;
        let agent = Options::no_kernel().start(bootstrap("test", incremental, plane.address()))?;
        Ok(Self { plane, agent, address, one, two })
    }

    pub(crate) fn get(&self) -> anyhow::Result<Response> {
        get(self.address)
    }

    /// Who answers now.
    pub(crate) fn who(&self) -> anyhow::Result<String> {
        who(self.address)
    }
}

pub(crate) fn get(address: SocketAddr) -> anyhow::Result<Response> {
    let mut wire = Wire::connect(address)?;
    wire.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
    wire.response()
}

pub(crate) fn who(address: SocketAddr) -> anyhow::Result<String> {
    let response = get(address)?;
    ensure!(response.status == 200, "{} {}", response.status, response.text());
    let answer: Value = serde_json::from_slice(&response.body)?;
    Ok(answer["server"].as_str().context("a name")?.to_owned())
}

/// Sends resources of a kind in one push; answers its version.
pub(crate) fn set(plane: &Plane, kind: &'static str, resources: &[Value]) -> anyhow::Result<u64> {
    let message = kind.rsplit('/').next().unwrap_or_default();
    let encoded = resources.iter().map(|value| {
        let name = value.get("name").or(value.get("cluster_name")).and_then(Value::as_str).context("a name")?;
        Ok((name.to_owned(), encode(message, value)?))
    });
    Ok(plane.set(kind, encoded.collect::<anyhow::Result<Vec<_>>>()?))
}

/// Waits until `is` says so.
pub(crate) fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_request_goes_where_four_resources_say_and_changes_with_each() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mut mesh = Mesh::start(incremental)?;
        assert_eq!(mesh.who()?, "one", "ready means live");
        // Endpoints.
        let version = set(&mesh.plane, EDS, &[endpoints("a", &[mesh.two.address()])])?;
        assert_eq!(mesh.plane.answer(EDS, version)?, None);
        assert_eq!(mesh.who()?, "two", "an ACK means live");
        // Routes, to a cluster that is new: make before break.
        set(&mesh.plane, CDS, &[eds_cluster("b")])?;
        let version = set(&mesh.plane, EDS, &[endpoints("b", &[mesh.one.address()])])?;
        assert_eq!(mesh.plane.answer(EDS, version)?, None);
        let version = set(&mesh.plane, RDS, &[routes("r", all_to("b"))])?;
        assert_eq!(mesh.plane.answer(RDS, version)?, None);
        assert_eq!(mesh.who()?, "one");
        // The listener, to an address that is new.
        let elsewhere = own_address(10000);
        let version = set(&mesh.plane, LDS, &[rds_listener("l", elsewhere, "r")])?;
        assert_eq!(mesh.plane.answer(LDS, version)?, None);
        eventually("the new address serves", || who(elsewhere).is_ok_and(|who| who == "one"));
        eventually("the old address is closed", || Wire::connect(mesh.address).is_err());
        // And gone.
        let version = mesh.plane.remove(LDS, &["l"]);
        assert_eq!(mesh.plane.answer(LDS, version)?, None);
        eventually("the listener is gone", || Wire::connect(elsewhere).is_err());
        mesh.agent.stop()?;
    }
    Ok(())
}

#[test]
fn who_has_the_chain_of_before_is_asked_to_come_again() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::start(incremental)?;
        set(&mesh.plane, CDS, &[eds_cluster("b")])?;
        let version = set(&mesh.plane, EDS, &[endpoints("b", &[mesh.two.address()])])?;
        // Routes to a cluster that is not live yet would wait for it.
        assert_eq!(mesh.plane.answer(EDS, version)?, None);
        let mut wire = Wire::connect(mesh.address)?;
        let mut ask = |closing: bool| -> anyhow::Result<String> {
            wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
            let response = wire.response()?;
            let expected = closing.then_some("close");
            ensure!(response.header("connection") == expected, "{:?}", response.headers);
            Ok(response.json()["server"].as_str().context("a name")?.to_owned())
        };
        assert_eq!(ask(false)?, "one");
        // Other routes under the same name: nobody has to come again for them.
        let version = set(&mesh.plane, RDS, &[routes("r", all_to("b"))])?;
        assert_eq!(mesh.plane.answer(RDS, version)?, None);
        assert_eq!(ask(false)?, "two");
        // Another name: another chain. What was asked before is answered as before, and for the last time.
        set(&mesh.plane, RDS, &[routes("other", all_to("a"))])?;
        let version = set(&mesh.plane, LDS, &[rds_listener("l", mesh.address, "other")])?;
        assert_eq!(mesh.plane.answer(LDS, version)?, None);
        eventually("the new chain serves", || mesh.who().is_ok_and(|who| who == "one"));
        ask(true)?;
        assert!(wire.closes_within(WAIT));
    }
    Ok(())
}

#[test]
fn a_dump_tells_what_was_sent_from_what_was_written() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::start(incremental)?;
        // It waits for endpoints: over delta the server would say at once that there are none.
        mesh.plane.hold(EDS, true);
        let version = set(&mesh.plane, CDS, &[eds_cluster("a"), eds_cluster("waiting")])?;
        assert_eq!(mesh.plane.answer(CDS, version)?, None);
        let dump = mesh.agent.admin().json("/config_dump?include_eds")?;
        let part = |kind: &str| {
            let type_url = format!("type.googleapis.com/envoy.admin.v3.{kind}ConfigDump");
            let parts = dump["configs"].as_array().expect("a list");
            parts.iter().find(|part| part["@type"] == *type_url).unwrap_or_else(|| panic!("no {kind} in {dump:#}"))
        };
        let clusters = part("Clusters");
        assert_eq!(clusters["static_clusters"][0]["cluster"]["name"], "plane");
        let entry = |list: &str| {
            let entry = &clusters[list][0];
            assert_eq!(entry["cluster"]["@type"], CDS, "{clusters:#}");
            assert!(entry["version_info"].as_str().is_some_and(|version| !version.is_empty()), "{entry:#}");
            assert!(entry["last_updated"].as_str().is_some_and(|at| at.starts_with("20")), "{entry:#}");
            assert_eq!(entry["client_status"], "ACKED");
            entry["cluster"]["name"].clone()
        };
        assert_eq!(
            (entry("dynamic_active_clusters"), entry("dynamic_warming_clusters")),
            ("a".into(), "waiting".into())
        );
        let listener = &part("Listeners")["dynamic_listeners"][0];
        assert_eq!((&listener["name"], &listener["active_state"]["listener"]["@type"]), (&"l".into(), &LDS.into()));
        let routes = &part("Routes")["dynamic_route_configs"][0];
        assert_eq!((&routes["route_config"]["@type"], &routes["route_config"]["name"]), (&RDS.into(), &"r".into()));
        let endpoints = &part("Endpoints")["dynamic_endpoint_configs"][0]["endpoint_config"];
        assert_eq!((&endpoints["@type"], &endpoints["cluster_name"]), (&EDS.into(), &"a".into()));
        let port = &endpoints["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["port_value"];
        assert_eq!(*port, mesh.one.address().port());
        assert!(routes["last_updated"].is_string() && listener["active_state"]["last_updated"].is_string(), "{dump:#}");
    }
    Ok(())
}

#[test]
fn a_bad_resource_is_refused_with_its_place_and_changes_nothing() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::start(incremental)?;
        let bad = with(eds_cluster("a"), json!({ "circuit_breakers": { "per_host_thresholds": [{}] } }));
        let version = set(&mesh.plane, CDS, &[bad, eds_cluster("c")])?;
        let why = mesh.plane.answer(CDS, version)?.context("it is refused")?;
        assert!(why.contains("cluster \"a\"") && why.contains("circuit_breakers"), "{why}");
        assert_eq!(mesh.who()?, "one", "what was live stays");
        let view = mesh.agent.admin().json("/config")?;
        let cds = &view["kinds"][0];
        assert_eq!(
            (cds["service"].as_str(), cds["refused"].as_u64(), cds["resources"].as_u64()),
            (Some("CDS"), Some(1), Some(2))
        );
        assert!(cds["refusal"].as_str().is_some_and(|why| why.contains("circuit_breakers")), "{view:#}");
        let dump = mesh.agent.admin().json("/config_dump")?;
        let a = &dump["configs"][1]["dynamic_active_clusters"][0];
        assert_eq!((&a["cluster"]["name"], &a["client_status"]), (&"a".into(), &"NACKED".into()), "{dump:#}");
        assert!(a["error_state"]["details"].as_str().is_some_and(|why| why.contains("circuit_breakers")), "{a:#}");
        assert!(a["last_updated"].as_str() <= a["error_state"]["last_update_attempt"].as_str(), "{a:#}");
        let metrics = mesh.agent.admin().metrics()?;
        assert_eq!(metrics.sum("bowline_xds_refused_total", &[("kind", "CDS")]), 1.0);
        assert_eq!(metrics.sum("bowline_xds_connected", &[]), 1.0);
        // Its sibling went live: its endpoints are asked for.
        let version = set(&mesh.plane, EDS, &[endpoints("c", &[mesh.two.address()])])?;
        assert_eq!(mesh.plane.answer(EDS, version)?, None);
        let version = set(&mesh.plane, RDS, &[routes("r", all_to("c"))])?;
        assert_eq!(mesh.plane.answer(RDS, version)?, None);
        assert_eq!(mesh.who()?, "two");
    }
    Ok(())
}

#[test]
fn an_address_that_is_taken_is_refused_by_the_listener_that_wants_it() -> anyhow::Result<()> {
    let mesh = Mesh::start(true)?;
    let taken = std::net::TcpListener::bind(own_address(0))?;
    let version = set(&mesh.plane, LDS, &[rds_listener("x", taken.local_addr()?, "r")])?;
    let why = mesh.plane.answer(LDS, version)?.context("it is refused")?;
    assert!(why.contains("\"x\"") && why.contains("in use"), "{why}");
    assert_eq!(mesh.who()?, "one");
    Ok(())
}

#[test]
fn without_its_server_the_agent_serves_on_and_catches_up_later() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::start(incremental)?;
        mesh.plane.disconnect();
        assert_eq!(mesh.who()?, "one");
        mesh.plane.wait_for_streams(2)?;
        let version = set(&mesh.plane, EDS, &[endpoints("a", &[mesh.two.address()])])?;
        assert_eq!(mesh.plane.answer(EDS, version)?, None);
        assert_eq!(mesh.who()?, "two");
        // What is gone when it comes back is gone.
        let version = mesh.plane.remove(LDS, &["l"]);
        assert_eq!(mesh.plane.answer(LDS, version)?, None);
        eventually("the listener is gone", || mesh.get().is_err());
    }
    Ok(())
}

#[test]
fn a_server_that_comes_late_is_waited_for_and_a_signal_ends_the_wait() -> anyhow::Result<()> {
    let nobody = own_address(1);
    let mut agent = Options::no_kernel().begin(bootstrap("test", true, nobody))?;
    eventually("it tells", || agent.log().contains("no stream to the management server"));
    assert!(!agent.admin().is_ready());
    agent.stop()?;

    let address = own_address(7000);
    let agent = Options::no_kernel().begin(bootstrap("test", true, address))?;
    eventually("it tells", || agent.log().contains("no stream to the management server"));
    let _plane = Plane::start(address)?;
    eventually("it is ready", || agent.admin().is_ready());
    Ok(())
}

#[test]
fn connections_of_a_listener_that_goes_may_finish() -> anyhow::Result<()> {
    let mesh = Mesh::start(true)?;
    let mut busy = Wire::connect(mesh.address)?;
    busy.send("GET /slow?ms=500 HTTP/1.1\r\nhost: a\r\n\r\n")?;
    eventually("it is under way", || mesh.one.seen().iter().any(|line| line.contains("/slow")));
    let version = mesh.plane.remove(LDS, &["l"]);
    assert_eq!(mesh.plane.answer(LDS, version)?, None);
    eventually("nobody new comes in", || Wire::connect(mesh.address).is_err());
    assert_eq!(busy.response()?.status, 200);
    Ok(())
}

#[test]
fn a_listener_waits_for_its_routes_and_a_new_one_keeps_the_old_meanwhile() -> anyhow::Result<()> {
    let mesh = Mesh::start(true)?;
    mesh.plane.hold(RDS, true);
    set(&mesh.plane, RDS, &[routes("other", all_to("a"))])?;
    let version = set(&mesh.plane, LDS, &[rds_listener("l", mesh.address, "other")])?;
    assert_eq!(mesh.plane.answer(LDS, version)?, None);
    for _ in 0..20 {
        assert_eq!(mesh.who()?, "one", "the old one serves until the new one can");
    }
    mesh.plane.hold(RDS, false);
    assert_eq!(mesh.who()?, "one");
    Ok(())
}
