//! Filters that come by themselves (ECDS): the whole agent, fed by a management server.

use std::net::SocketAddr;

use anyhow::Context as _;
use harness::ads::message::{ECDS, LDS};
use harness::ads::plane::Plane;
use harness::agent::{Agent, Options};
use harness::config::{http_with, listener, own_address, tcp, with};
use harness::echo::HttpServer;
use harness::serve::Server;
use harness::tcp::echo;
use harness::wire::Wire;
use serde_json::{Value, json};

use crate::agent::{eventually, get, set};
use crate::setup::{ads, bootstrap};

const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const RBAC: &str = "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC";

/// A place for a filter of one type, and more of its source.
pub(crate) fn discovered(name: &str, kind: &str, more: Value) -> Value {
    json!({ "name": name, "config_discovery": with(json!({ "config_source": ads(), "type_urls": [kind] }), more) })
}

pub(crate) fn router(name: &str, is_quiet: bool) -> Value {
    json!({ "name": name, "typed_config": { "@type": ROUTER, "suppress_envoy_headers": is_quiet } })
}

/// Rules that let everybody through, or nobody.
pub(crate) fn rules(name: &str, action: &str) -> Value {
    let all = json!({ "permissions": [{ "any": true }], "principals": [{ "any": true }] });
    let rules = json!({ "action": action, "policies": { "all": all } });
    json!({ "name": name, "typed_config": { "@type": RBAC, "stat_prefix": "x", "rules": rules } })
}

/// A listener of HTTP, to cluster `back`, whose router comes by itself.
fn http(name: &str, address: SocketAddr, more: Value) -> Value {
    let routes = json!([{ "match": { "prefix": "/" }, "route": { "cluster": "back" } }]);
    let filter = http_with(routes, json!({ "http_filters": [discovered("how", ROUTER, more)] }));
    with(listener(address, filter), json!({ "name": name }))
}

/// A listener of bytes, to cluster `bytes`, whose rules come by themselves.
fn bytes(name: &str, address: SocketAddr, more: Value) -> Value {
    let listener = with(listener(address, tcp("bytes")), json!({ "name": name }));
    let last = listener["filter_chains"][0]["filters"][0].clone();
    with(listener, json!({ "filter_chains": [{ "filters": [discovered("who", RBAC, more), last] }] }))
}

struct Mesh {
    plane: Plane,
    agent: Agent,
    addresses: [SocketAddr; 3],
    _servers: (HttpServer, Server),
}

impl Mesh {
    /// With two listeners that share a router, and one with rules. Nothing comes by itself yet.
    fn start(incremental: bool, http_more: &Value, bytes_more: &Value) -> anyhow::Result<Self> {
        let (plane, server, echo) = (Plane::start(own_address(0))?, HttpServer::local("one")?, echo(own_address(0))?);
        let addresses = [own_address(10000), own_address(10000), own_address(10000)];
        let mut config = bootstrap("test", incremental, plane.address());
        let clusters = config["static_resources"]["clusters"].as_array_mut().context("clusters")?;
        clusters.push(harness::config::cluster("back", &[server.address()]));
        clusters.push(harness::config::cluster("bytes", &[echo.address()]));
        config["dynamic_resources"]["cds_config"] = Value::Null;
        let listeners = [
            http("l", addresses[0], http_more.clone()),
            http("m", addresses[1], http_more.clone()),
            bytes("b", addresses[2], bytes_more.clone()),
        ];
        set(&plane, LDS, &listeners)?;
        // Over delta it would say at once that there are none.
        plane.hold(ECDS, true);
        let agent = Options::no_kernel().begin(config)?;
        Ok(Self { plane, agent, addresses, _servers: (server, echo) })
    }

    fn ready(&self) {
        eventually("it is ready", || self.agent.admin().is_ready());
    }

    fn accepted(&self, resource: Value) -> anyhow::Result<()> {
        let version = set(&self.plane, ECDS, &[resource])?;
        assert_eq!(self.plane.answer(ECDS, version)?, None);
        Ok(())
    }

    /// Whether a new connection of bytes goes through.
    fn goes_through(&self) -> bool {
        let through = || -> anyhow::Result<bool> {
            let mut wire = Wire::connect(self.addresses[2])?;
            wire.send("ping")?;
            Ok(wire.read_exact(4)? == b"ping")
        };
        through().unwrap_or(false)
    }
}

/// Whether an answer on `wire` has the headers that a quiet router leaves out.
fn is_quiet(wire: &mut Wire) -> anyhow::Result<bool> {
    wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
    let response = wire.response()?;
    assert_eq!((response.status, response.header("connection")), (200, None));
    Ok(response.header("x-envoy-upstream-service-time").is_none())
}

#[test]
fn a_listener_waits_for_its_filters_and_connections_outlive_their_changes() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::start(incremental, &json!({}), &json!({}))?;
        eventually("filters are asked for", || mesh.plane.subscribed(ECDS) == ["how", "who"]);
        assert!(!mesh.agent.admin().is_ready(), "the listeners wait");
        set(&mesh.plane, ECDS, &[router("how", true), rules("who", "ALLOW")])?;
        mesh.plane.hold(ECDS, false);
        mesh.ready();
        assert_eq!(mesh.plane.times_asked(ECDS, "how"), 1, "once for both listeners");

        // One connection each, over every change.
        let mut wires = [Wire::connect(mesh.addresses[0])?, Wire::connect(mesh.addresses[1])?];
        let mut open = Wire::connect(mesh.addresses[2])?;
        for quiet in [true, false, true] {
            mesh.accepted(router("how", quiet))?;
            for wire in &mut wires {
                assert_eq!(is_quiet(wire)?, quiet);
            }
        }
        for (action, passes) in [("ALLOW", true), ("DENY", false), ("ALLOW", true), ("DENY", false)] {
            mesh.accepted(rules("who", action))?;
            assert_eq!(mesh.goes_through(), passes, "{action}");
            open.send("ping")?;
            assert_eq!(open.read_exact(4)?, b"ping", "what is open stays open");
        }

        // What fits in none of its places is refused, and what was live stays.
        let version = set(&mesh.plane, ECDS, &[rules("how", "ALLOW"), rules("who", "ALLOW")])?;
        let why = mesh.plane.answer(ECDS, version)?.context("it is refused")?;
        assert!(why.contains("extension how") && why.contains("RBAC does not fit"), "{why}");
        assert!(is_quiet(&mut wires[0])? && mesh.goes_through(), "its sibling went live");
        let lua = json!({ "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua" });
        let version = set(&mesh.plane, ECDS, &[json!({ "name": "how", "typed_config": lua })])?;
        let why = mesh.plane.answer(ECDS, version)?.context("it is refused")?;
        assert!(why.contains("extension \"how\"") && why.contains("Lua is not supported"), "{why}");
        assert!(is_quiet(&mut wires[1])?);
        let dump = mesh.agent.admin().json("/config_dump")?;
        let filters = dump["configs"].as_array().and_then(|parts| parts.last()).context("parts")?;
        assert_eq!(filters["ecds_filters"][0]["ecds_filter"]["name"], "how", "{filters:#}");
    }
    Ok(())
}

#[test]
fn a_filter_that_is_removed_leaves_the_default_and_nobody_where_there_is_none_delta() -> anyhow::Result<()> {
    let default = json!({ "default_config": { "@type": ROUTER } });
    let mesh = Mesh::start(true, &default, &json!({}))?;
    set(&mesh.plane, ECDS, &[router("how", true), rules("who", "ALLOW")])?;
    mesh.plane.hold(ECDS, false);
    mesh.ready();
    let mut wire = Wire::connect(mesh.addresses[0])?;
    assert!(is_quiet(&mut wire)? && mesh.goes_through());
    let version = mesh.plane.remove(ECDS, &["how", "who"]);
    assert_eq!(mesh.plane.answer(ECDS, version)?, None);
    assert!(!is_quiet(&mut wire)? && !mesh.goes_through());
    let again = set(&mesh.plane, ECDS, &[router("how", true), rules("who", "ALLOW")])?;
    assert_eq!(mesh.plane.answer(ECDS, again)?, None);
    assert!(is_quiet(&mut wire)? && mesh.goes_through());
    Ok(())
}

#[test]
fn what_does_not_come_in_time_is_done_without_until_it_comes() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mut source = ads();
        source["initial_fetch_timeout"] = json!("0.3s");
        let mesh = Mesh::start(incremental, &json!({ "config_source": source }), &json!({ "config_source": source }))?;
        mesh.ready();
        assert_eq!(get(mesh.addresses[0])?.status, 500);
        assert_eq!(mesh.agent.admin().metrics()?.sum("bowline_errors_total", &[("kind", "NFCF")]), 1.0);
        assert!(!mesh.goes_through());
        mesh.plane.hold(ECDS, false);
        set(&mesh.plane, ECDS, &[rules("who", "ALLOW")])?;
        mesh.accepted(router("how", false))?;
        assert_eq!(get(mesh.addresses[1])?.status, 200);
        assert!(mesh.goes_through());
    }
    Ok(())
}

#[test]
fn what_has_a_default_that_may_be_used_at_once_is_not_waited_for() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let at_once =
            |default: Value| json!({ "apply_default_config_without_warming": true, "default_config": default });
        let denied = rules("", "DENY")["typed_config"].clone();
        let mesh = Mesh::start(incremental, &at_once(json!({ "@type": ROUTER })), &at_once(denied))?;
        mesh.ready();
        let mut wire = Wire::connect(mesh.addresses[0])?;
        assert!(!is_quiet(&mut wire)? && !mesh.goes_through());
        mesh.plane.hold(ECDS, false);
        set(&mesh.plane, ECDS, &[rules("who", "ALLOW")])?;
        mesh.accepted(router("how", true))?;
        assert!(is_quiet(&mut wire)? && mesh.goes_through());
    }
    Ok(())
}
