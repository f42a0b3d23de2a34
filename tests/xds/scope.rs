//! Scoped routes (SRDS): the whole agent, fed by a management server.

use std::net::SocketAddr;

use anyhow::Context as _;
use harness::ads::message::{CDS, LDS, RDS, SRDS};
use harness::ads::plane::Plane;
use harness::agent::{Agent, Options};
use harness::config::{cluster, http_with, listener, own_address, with};
use harness::echo::HttpServer;
use harness::wire::Wire;
use serde_json::{Value, json};

use crate::agent::{eventually, set};
use crate::setup::{ads, bootstrap, routes};

/// An extractor's fields, in a connection manager whose scopes come by themselves.
pub(crate) fn scoped_routes(extractor: &Value, source: &Value) -> Value {
    json!({
        "name": "tenants",
        "scope_key_builder": { "fragments": [{ "header_value_extractor": extractor }] },
        "rds_config_source": ads(),
        "scoped_rds": { "scoped_rds_config_source": source },
    })
}

pub(crate) fn scope(name: &str, routes: &str, key: &str) -> Value {
    json!({ "name": name, "route_configuration_name": routes, "key": { "fragments": [{ "string_key": key }] } })
}

/// Routes that answer with their own name.
pub(crate) fn telling(name: &str) -> Value {
    let answer = json!({ "status": 200, "body": { "inline_string": name } });
    routes(name, json!([{ "match": { "prefix": "/" }, "direct_response": answer }]))
}

struct Mesh {
    plane: Plane,
    agent: Agent,
    address: SocketAddr,
    _back: HttpServer,
}

impl Mesh {
    /// With a listener whose scope is `tenant` among the pairs of a header, and two scopes.
    fn start(incremental: bool, source: &Value) -> anyhow::Result<Self> {
        let (plane, back) = (Plane::start(own_address(0))?, HttpServer::local("back")?);
        let address = own_address(10000);
        let element = json!({ "separator": "=", "key": "tenant" });
        let extractor = json!({ "name": "x-who", "element_separator": ",", "element": element });
        let scoped = scoped_routes(&extractor, source);
        let filter = http_with(json!([]), json!({ "route_config": null, "scoped_routes": scoped }));
        set(&plane, CDS, &[cluster("back", &[back.address()])])?;
        set(&plane, LDS, &[with(listener(address, filter), json!({ "name": "l" }))])?;
        plane.hold(SRDS, true);
        plane.hold(RDS, true);
        set(&plane, SRDS, &[scope("one", "r1", "a"), scope("two", "r2", "b")])?;
        set(&plane, RDS, &[telling("r1"), telling("r2"), telling("r3")])?;
        let agent = Options::no_kernel().begin(bootstrap("test", incremental, plane.address()))?;
        Ok(Self { plane, agent, address, _back: back })
    }

    fn live(incremental: bool) -> anyhow::Result<Self> {
        let mesh = Self::start(incremental, &ads())?;
        mesh.plane.hold(SRDS, false);
        mesh.plane.hold(RDS, false);
        eventually("it is ready", || mesh.agent.admin().is_ready());
        Ok(mesh)
    }

    fn scopes(&self, scopes: &[Value]) -> anyhow::Result<Option<String>> {
        let version = set(&self.plane, SRDS, scopes)?;
        self.plane.answer(SRDS, version)
    }

    fn ask(&self, who: &str) -> anyhow::Result<String> {
        ask(&mut Wire::connect(self.address)?, who)
    }
}

fn ask(wire: &mut Wire, who: &str) -> anyhow::Result<String> {
    wire.send(format!("GET / HTTP/1.1\r\nhost: a\r\nx-who: {who}\r\n\r\n"))?;
    let response = wire.response()?;
    assert_eq!(response.header("connection"), None);
    Ok(if response.status == 200 { response.text() } else { response.status.to_string() })
}

#[test]
fn a_listener_waits_for_scopes_and_those_for_their_routes() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::start(incremental, &ads())?;
        mesh.plane.hold(SRDS, false);
        eventually("routes are asked for", || mesh.plane.subscribed(RDS) == ["r1", "r2"]);
        assert!(!mesh.agent.admin().is_ready());
        mesh.plane.hold(RDS, false);
        eventually("it is ready", || mesh.agent.admin().is_ready());
        assert_eq!((mesh.ask("x=1,tenant=a")?, mesh.ask("tenant=b,tenant=a")?), ("r1".into(), "r2".into()));
        assert_eq!(
            (mesh.ask("tenant=c")?, mesh.ask("tenant")?, mesh.ask("x=a")?),
            ("404".into(), "404".into(), "404".into())
        );
        assert_eq!(mesh.agent.admin().metrics()?.sum("bowline_errors_total", &[("kind", "NR")]), 3.0);
        let dump = mesh.agent.admin().json("/config_dump")?;
        let scopes = dump["configs"].as_array().and_then(|parts| parts.last()).context("parts")?;
        assert_eq!(scopes["dynamic_scoped_route_configs"].as_array().map(Vec::len), Some(2), "{scopes:#}");
    }
    Ok(())
}

#[test]
fn scopes_come_change_and_go_under_open_connections() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::live(incremental)?;
        let mut wire = Wire::connect(mesh.address)?;
        assert_eq!(ask(&mut wire, "tenant=a")?, "r1");
        // Other routes: until they are there, those that were.
        mesh.plane.hold(RDS, true);
        assert_eq!(mesh.scopes(&[scope("one", "r3", "a"), scope("three", "r2", "c")])?, None);
        assert_eq!((ask(&mut wire, "tenant=a")?, ask(&mut wire, "tenant=c")?), ("r1".into(), "r2".into()));
        mesh.plane.hold(RDS, false);
        eventually("its new routes are live", || ask(&mut wire, "tenant=a").is_ok_and(|it| it == "r3"));
        // Keys change hands at once.
        assert_eq!(mesh.scopes(&[scope("one", "r3", "b"), scope("two", "r2", "a")])?, None);
        assert_eq!((ask(&mut wire, "tenant=a")?, ask(&mut wire, "tenant=b")?), ("r2".into(), "r3".into()));
        // SotW: what is absent is gone.
        let version = mesh.plane.remove(SRDS, &["three"]);
        assert_eq!(mesh.plane.answer(SRDS, version)?, None);
        assert_eq!((ask(&mut wire, "tenant=a")?, ask(&mut wire, "tenant=c")?), ("r2".into(), "404".into()));
    }
    Ok(())
}

#[test]
fn two_scopes_with_one_key_are_refused_and_their_siblings_are_not() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::live(incremental)?;
        let why = mesh.scopes(&[scope("bad", "r1", "b"), scope("good", "r3", "c")])?.context("it is refused")?;
        assert!(why.contains("scope key conflict found, first scope is 'two', second scope is 'bad'"), "{why}");
        eventually("its sibling is live", || mesh.ask("tenant=c").is_ok_and(|it| it == "r3"));
        assert_eq!((mesh.ask("tenant=a")?, mesh.ask("tenant=b")?), ("r1".into(), "r2".into()));
        let inline = json!({ "name": "inline", "route_configuration": telling("x"), "key": { "fragments": [] } });
        let why = mesh.scopes(&[inline])?.context("it is refused")?;
        assert!(why.contains("scoped routes \"inline\": ") && why.contains("write route_configuration_name"), "{why}");
        let later = with(scope("later", "r1", "d"), json!({ "on_demand": true }));
        let why = mesh.scopes(&[later])?.context("it is refused")?;
        assert!(why.contains("scoped routes \"later\": on_demand needs mesh.on_demand"), "{why}");
    }
    Ok(())
}

#[test]
fn scopes_that_do_not_come_in_time_are_done_without() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::start(incremental, &with(ads(), json!({ "initial_fetch_timeout": "0.3s" })))?;
        eventually("it is ready", || mesh.agent.admin().is_ready());
        assert_eq!(mesh.ask("tenant=a")?, "404");
        mesh.plane.hold(SRDS, false);
        mesh.plane.hold(RDS, false);
        eventually("they come after all", || mesh.ask("tenant=a").is_ok_and(|it| it == "r1"));
    }
    Ok(())
}

#[test]
fn after_a_break_scopes_that_are_gone_are_gone() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::live(incremental)?;
        mesh.plane.disconnect();
        assert_eq!(mesh.ask("tenant=b")?, "r2");
        mesh.plane.wait_for_streams(2)?;
        mesh.plane.remove(SRDS, &["two"]);
        eventually("it is gone", || mesh.ask("tenant=b").is_ok_and(|it| it == "404"));
        assert_eq!(mesh.ask("tenant=a")?, "r1");
    }
    Ok(())
}
