//! `mesh.last_good` with routes that come in parts: scopes (SRDS) and virtual hosts (VHDS).

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use harness::ads::Ads;
use harness::ads::encode::encode;
use harness::ads::message::{Any, CDS, DeltaResponse, LDS, RDS, Resource, SRDS, VHDS};
use harness::ads::plane::Plane;
use harness::agent::{Agent, Options};
use harness::config::{cluster, http_with, listener, own_address, with};
use harness::scratch::Scratch;
use harness::wire::Wire;
use mesh_agent::model::management::Keep;
use mesh_agent::model::resource::ResourceKind;
use mesh_agent::xds::delivery::{News, Want};
use mesh_agent::xds::session::{Missing, Why};
use serde_json::{Value, json};

use crate::agent::{eventually, set};
use crate::last_good::{keeps, kill, last_good};
use crate::rig::{Rig, WAIT, said, server};
use crate::scope::{scope, scoped_routes, telling as routes_telling};
use crate::setup::{ads, bootstrap};
use crate::vhds::{asking, discovering, telling};

fn named(name: &str, address: SocketAddr, more: Value) -> Value {
    with(listener(address, http_with(json!([]), with(json!({ "route_config": null }), more))), json!({ "name": name }))
}

/// A listener whose virtual hosts are asked for, and one with a scope.
fn plane(at: SocketAddr, hosts: SocketAddr, scopes: SocketAddr) -> anyhow::Result<Plane> {
    let plane = Plane::start(at)?;
    let rds = json!({ "route_config_name": "r", "config_source": ads() });
    let scoped = scoped_routes(&json!({ "name": "x-who", "element_separator": ",", "index": 0 }), &ads());
    set(&plane, CDS, &[cluster("back", &[own_address(1)])])?;
    let parts = json!({ "rds": rds, "http_filters": asking() });
    set(&plane, LDS, &[named("h", hosts, parts), named("s", scopes, json!({ "scoped_routes": scoped }))])?;
    set(&plane, SRDS, &[scope("one", "r1", "a")])?;
    set(&plane, RDS, &[discovering("r"), routes_telling("r1")])?;
    let host = encode("envoy.config.route.v3.VirtualHost", &telling(&["a.example"], "a"))?;
    plane.set(VHDS, [("r/a.example".to_owned(), host)]);
    Ok(plane)
}

fn ask(address: SocketAddr, host: &str) -> anyhow::Result<String> {
    let mut wire = Wire::connect(address)?;
    wire.send(format!("GET / HTTP/1.1\r\nhost: {host}\r\nx-who: a\r\n\r\n"))?;
    let response = wire.response()?;
    Ok(if response.status == 200 { response.text() } else { response.status.to_string() })
}

#[test]
fn scopes_and_virtual_hosts_are_there_again_without_a_server_delta() -> anyhow::Result<()> {
    let (at, hosts, scopes) = (own_address(7000), own_address(10000), own_address(10001));
    let scratch = Scratch::new()?;
    let kept = json!({ "mesh": { "last_good": { "path": scratch.path().join("kept") } } });
    let start =
        || -> anyhow::Result<Agent> { Options::no_kernel().start(with(bootstrap("test", true, at), kept.clone())) };
    let first = plane(at, hosts, scopes)?;
    let agent = start()?;
    assert_eq!((ask(hosts, "a.example")?, ask(scopes, "x")?), ("a".into(), "r1".into()));
    keeps(&agent, 7);
    drop(first);
    kill(agent)?;

    let agent = start()?;
    assert!(last_good(&agent)["serving"].is_string());
    assert_eq!((ask(scopes, "x")?, ask(hosts, "fixed")?), ("r1".into(), "fixed".into()));
    assert_eq!(ask(hosts, "a.example")?, "a", "asked for, and had from the disk");
    let second = plane(at, hosts, scopes)?;
    eventually("the server hears of it", || second.subscribed(VHDS) == ["r/a.example"]);
    let host = encode("envoy.config.route.v3.VirtualHost", &telling(&["a.example"], "A"))?;
    let version = second.set(VHDS, [("r/a.example".to_owned(), host)]);
    assert_eq!(second.answer(VHDS, version)?, None);
    assert_eq!((ask(hosts, "a.example")?, ask(scopes, "x")?), ("A".into(), "r1".into()));
    let version = second.remove(SRDS, &["one"]);
    assert_eq!(second.answer(SRDS, version)?, None);
    assert_eq!(ask(scopes, "x")?, "404");
    Ok(())
}

/// The client by itself. What other name it was asked for by is not kept, so it is no answer to that one.
#[test]
fn a_virtual_host_that_is_known_by_an_alias_alone_is_asked_for_anew_delta() -> anyhow::Result<()> {
    const KIND: ResourceKind = ResourceKind::VirtualHost;
    let scratch = Scratch::new()?;
    let ads = Ads::start(own_address(0))?;
    let keep = || Some(Keep { folder: scratch.path().join("kept"), settle: Duration::from_secs(60) });
    let want = |name: &str| Want::One { kind: KIND, name: name.into(), patience: None };
    let wants = [want("r/a.com"), want("r/own")];
    let mut rig = Rig::keeping(true, vec![server(ads.address())], &wants, keep())?;
    let stream = ads.stream(WAIT)?;
    said(&stream)?;
    let one = |name: &str, aliases: &[&str]| Resource {
        version: "1".into(),
        resource: Some(Any { type_url: VHDS.into(), value: b"\x0a\x01v".as_slice().into() }),
        name: name.into(),
        aliases: aliases.iter().map(ToString::to_string).collect(),
    };
    let resources = vec![one("r/all", &["r/a.com"]), one("r/own", &[])];
    stream.send(&DeltaResponse { resources, type_url: VHDS.into(), nonce: "1".into(), ..DeltaResponse::default() });
    assert_eq!(rig.take()?.0, ["r/all", "r/own"]);
    said(&stream)?;
    let at = ads.address();
    drop((rig, stream, ads));

    let mut rig = Rig::keeping(true, vec![server(at)], &wants, keep())?;
    assert_eq!(rig.take()?.0, ["r/own"]);
    let delivery = rig.next()?;
    let News::Missing(missing) = &delivery.news else { anyhow::bail!("{delivery:?}") };
    ensure!(*missing == [Missing { kind: KIND, name: "r/a.com".into(), why: Why::NeverCame }], "{missing:?}");
    let _ = delivery.reply.send(mesh_agent::xds::delivery::Reply::default());
    let ads = Ads::start(at)?;
    let first = said(&ads.stream(WAIT)?)?;
    assert_eq!((first.has, first.names), (vec!["r/own@1".to_owned()], vec!["r/a.com".to_owned(), "r/own".to_owned()]));
    Ok(())
}
