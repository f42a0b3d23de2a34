//! Virtual hosts by discovery (VHDS): the whole agent, fed by a management server.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use harness::ads::encode::encode;
use harness::ads::message::{CDS, LDS, RDS, VHDS};
use harness::ads::plane::Plane;
use harness::agent::{Agent, Options};
use harness::config::{cluster, http_with, listener, own_address, with};
use harness::echo::HttpServer;
use harness::wire::Wire;
use serde_json::{Value, json};

use crate::agent::{eventually, set};
use crate::setup::{ads, bootstrap, routes};

/// HTTP filters with the one that asks for virtual hosts.
pub(crate) fn asking() -> Value {
    let kind = |name: &str| json!({ "@type": format!("type.googleapis.com/envoy.extensions.filters.http.{name}") });
    json!([
        { "name": "envoy.filters.http.on_demand", "typed_config": kind("on_demand.v3.OnDemand") },
        { "name": "envoy.filters.http.router", "typed_config": kind("router.v3.Router") },
    ])
}

/// Routes whose virtual hosts come by themselves, but for `fixed`, which answers with its name.
pub(crate) fn discovering(name: &str) -> Value {
    let mut made = routes(name, json!([answer("fixed")]));
    made["virtual_hosts"][0]["domains"] = json!(["fixed"]);
    with(made, json!({ "vhds": { "config_source": ads() } }))
}

fn answer(text: &str) -> Value {
    let body = json!({ "inline_string": text });
    json!({ "match": { "prefix": "/" }, "direct_response": { "status": 200, "body": body } })
}

/// A virtual host of routes `r` that answers with a text. Envoy removes one by its own name, so that is the resource's.
pub(crate) fn telling(domains: &[&str], text: &str) -> Value {
    json!({ "name": format!("r/{}", domains[0]), "domains": domains, "routes": [answer(text)] })
}

struct Mesh {
    plane: Plane,
    agent: Agent,
    address: SocketAddr,
    _back: HttpServer,
}

impl Mesh {
    fn start(filters: &Value, more: Value) -> anyhow::Result<Self> {
        let (plane, back) = (Plane::start(own_address(0))?, HttpServer::local("back")?);
        let address = own_address(10000);
        let rds = json!({ "route_config_name": "r", "config_source": ads() });
        let filter = http_with(json!([]), json!({ "route_config": null, "rds": rds, "http_filters": filters }));
        set(&plane, CDS, &[cluster("back", &[back.address()])])?;
        set(&plane, LDS, &[with(listener(address, filter), json!({ "name": "l" }))])?;
        set(&plane, RDS, &[discovering("r")])?;
        let config = with(bootstrap("test", true, plane.address()), more);
        let agent = Options::no_kernel().start(config)?;
        Ok(Self { plane, agent, address, _back: back })
    }

    /// Sends virtual hosts by their resources' names.
    fn hosts(&self, hosts: &[(&str, Value)]) -> anyhow::Result<u64> {
        let encoded = hosts
            .iter()
            .map(|(name, host)| Ok(((*name).to_owned(), encode("envoy.config.route.v3.VirtualHost", host)?)));
        Ok(self.plane.set(VHDS, encoded.collect::<anyhow::Result<Vec<_>>>()?))
    }

    fn ask(&self, host: &str) -> anyhow::Result<String> {
        answered(&mut asking_for(self.address, host)?)
    }
}

fn asking_for(address: SocketAddr, host: &str) -> anyhow::Result<Wire> {
    let mut wire = Wire::connect(address)?;
    wire.send(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"))?;
    Ok(wire)
}

fn answered(wire: &mut Wire) -> anyhow::Result<String> {
    let response = wire.response()?;
    Ok(if response.status == 200 { response.text() } else { response.status.to_string() })
}

#[test]
fn a_host_is_asked_for_when_a_request_needs_it_delta() -> anyhow::Result<()> {
    let mesh = Mesh::start(&asking(), json!({}))?;
    mesh.hosts(&[("r/a.example", telling(&["a.example"], "a")), ("r/b.example:81", telling(&["b.example:81"], "b"))])?;
    assert_eq!(mesh.ask("fixed")?, "fixed");
    assert!(mesh.plane.subscribed(VHDS).is_empty(), "what is there is not asked for");
    // Many at once are one question, in lower case.
    mesh.plane.hold(VHDS, true);
    let mut waiting = (0..20).map(|_| asking_for(mesh.address, "A.example")).collect::<anyhow::Result<Vec<_>>>()?;
    eventually("it is asked for", || mesh.plane.subscribed(VHDS) == ["r/a.example"]);
    assert_eq!(mesh.ask("fixed")?, "fixed", "others do not wait");
    mesh.plane.hold(VHDS, false);
    for wire in &mut waiting {
        assert_eq!(answered(wire)?, "a");
    }
    assert_eq!(mesh.plane.times_asked(VHDS, "r/a.example"), 1);
    assert_eq!((mesh.ask("b.example:81")?, mesh.ask("a.example")?), ("b".into(), "a".into()));
    // It changes, and goes, like anything else.
    let version = mesh.hosts(&[("r/a.example", telling(&["a.example"], "A"))])?;
    assert_eq!(mesh.plane.answer(VHDS, version)?, None);
    assert_eq!(mesh.ask("a.example")?, "A");
    let version = mesh.plane.remove(VHDS, &["r/a.example"]);
    assert_eq!(mesh.plane.answer(VHDS, version)?, None);
    assert_eq!((mesh.ask("a.example")?, mesh.ask("b.example:81")?), ("404".into(), "b".into()));
    // Other routes of that name keep what came.
    let version = set(&mesh.plane, RDS, &[with(discovering("r"), json!({ "validate_clusters": false }))])?;
    assert_eq!(mesh.plane.answer(RDS, version)?, None);
    assert_eq!(mesh.ask("b.example:81")?, "b");
    Ok(())
}

#[test]
fn a_host_that_is_not_there_is_answered_at_once_and_may_come_later_delta() -> anyhow::Result<()> {
    let mesh = Mesh::start(&asking(), json!({}))?;
    let begun = Instant::now();
    for _ in 0..5 {
        assert_eq!(mesh.ask("nowhere")?, "404");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(mesh.plane.times_asked(VHDS, "r/nowhere"), 1);
    assert_eq!(mesh.agent.admin().metrics()?.sum("bowline_errors_total", &[("kind", "NR")]), 5.0);
    let version = mesh.hosts(&[("r/nowhere", telling(&["nowhere"], "here"))])?;
    assert_eq!(mesh.plane.answer(VHDS, version)?, None);
    assert_eq!(mesh.ask("nowhere")?, "here");
    // One that is refused is not there either, and what was live stays.
    let bad = with(telling(&["x"], "x"), json!({ "require_tls": "ALL" }));
    let version = mesh.hosts(&[("r/x", bad), ("r/nowhere", telling(&["fixed"], "fixed twice"))])?;
    assert_eq!(mesh.ask("x")?, "404");
    let why = mesh.plane.answer(VHDS, version)?.context("it is refused")?;
    assert!(why.contains("domain fixed stands in two virtual hosts") || why.contains("require_tls"), "{why}");
    assert_eq!((mesh.ask("nowhere")?, mesh.ask("fixed")?), ("here".into(), "fixed".into()));
    Ok(())
}

#[test]
fn a_host_that_never_comes_is_not_waited_for_without_end_delta() -> anyhow::Result<()> {
    let mut source = discovering("r");
    source["vhds"]["config_source"]["initial_fetch_timeout"] = json!("0.5s");
    let mesh = Mesh::start(&asking(), json!({}))?;
    let version = set(&mesh.plane, RDS, &[source])?;
    assert_eq!(mesh.plane.answer(RDS, version)?, None);
    mesh.plane.hold(VHDS, true);
    assert_eq!(mesh.ask("slow")?, "404");
    mesh.plane.hold(VHDS, false);
    mesh.hosts(&[("r/slow", telling(&["slow"], "slow"))])?;
    eventually("it comes after all", || mesh.ask("slow").is_ok_and(|it| it == "slow"));
    Ok(())
}

#[test]
fn what_nobody_has_used_for_a_while_is_let_go_delta() -> anyhow::Result<()> {
    let mesh = Mesh::start(&asking(), json!({ "mesh": { "on_demand": true, "on_demand_ttl": "2s" } }))?;
    mesh.hosts(&[("r/a", telling(&["a"], "a")), ("r/b", telling(&["b"], "b"))])?;
    assert_eq!((mesh.ask("a")?, mesh.ask("b")?, mesh.ask("c")?), ("a".into(), "b".into(), "404".into()));
    eventually("what is not used is let go", || {
        let _ = mesh.ask("a");
        thread::sleep(Duration::from_millis(100));
        mesh.plane.subscribed(VHDS) == ["r/a"]
    });
    assert_eq!(
        (mesh.ask("b")?, mesh.plane.times_asked(VHDS, "r/b"), mesh.plane.times_asked(VHDS, "r/a")),
        ("b".into(), 2, 1)
    );
    Ok(())
}

#[test]
fn an_old_connection_of_routes_that_are_gone_is_answered_at_once_delta() -> anyhow::Result<()> {
    let mesh = Mesh::start(&asking(), json!({}))?;
    mesh.hosts(&[("r/a", telling(&["a"], "a"))])?;
    let mut old = asking_for(mesh.address, "a")?;
    assert_eq!(answered(&mut old)?, "a");
    let rds = json!({ "route_config_name": "s", "config_source": ads() });
    let filter = http_with(json!([]), json!({ "route_config": null, "rds": rds, "http_filters": asking() }));
    set(&mesh.plane, RDS, &[discovering("r"), discovering("s")])?;
    let version = set(&mesh.plane, LDS, &[with(listener(mesh.address, filter), json!({ "name": "l" }))])?;
    assert_eq!(mesh.plane.answer(LDS, version)?, None);
    eventually("the routes are others", || mesh.plane.subscribed(RDS) == ["s"]);
    old.send("GET / HTTP/1.1\r\nhost: nope\r\n\r\n")?;
    assert_eq!(answered(&mut old)?, "404");
    assert_eq!(mesh.ask("fixed")?, "fixed");
    Ok(())
}

#[test]
fn without_the_filter_nobody_asks_and_sotw_is_refused_by_name() -> anyhow::Result<()> {
    let router = json!([asking()[1]]);
    let mesh = Mesh::start(&router, json!({}))?;
    mesh.hosts(&[("r/a", telling(&["a"], "a"))])?;
    assert_eq!((mesh.ask("a")?, mesh.ask("fixed")?), ("404".into(), "fixed".into()));
    assert!(mesh.plane.subscribed(VHDS).is_empty());

    let (plane, address) = (Plane::start(own_address(0))?, own_address(10000));
    let rds = json!({ "route_config_name": "r", "config_source": ads() });
    let filter = http_with(json!([]), json!({ "route_config": null, "rds": rds }));
    set(&plane, LDS, &[with(listener(address, filter), json!({ "name": "l" }))])?;
    let version = set(&plane, RDS, &[discovering("r")])?;
    let _agent = Options::no_kernel().begin(bootstrap("test", false, plane.address()))?;
    let why = plane.answer(RDS, version)?.context("it is refused")?;
    assert!(why.contains("route configuration \"r\": vhds needs api_type: DELTA_GRPC"), "{why}");
    Ok(())
}
