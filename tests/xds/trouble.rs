//! What a management server may do to a whole agent: whatever it is, requests that can be served are, and the agent goes on.

use std::time::{Duration, Instant};

use anyhow::Context;
use harness::ads::Ads;
use harness::ads::encode::encode;
use harness::ads::message::{Any, CDS, DeltaRequest, DeltaResponse, EDS, LDS, RDS, Resource};
use harness::ads::plane::Plane;
use harness::agent::Options;
use harness::config::{all_to, own_address, with};
use harness::footprint::Footprint;
use serde_json::{Value, json};

use crate::agent::{Mesh, eventually, get, set, who};
use crate::setup::{ads, bootstrap, eds_cluster, endpoints, impatient, rds_listener, routes};

#[test]
fn a_server_that_never_answers_is_not_waited_for_at_the_start() -> anyhow::Result<()> {
    // It takes connections, and the kernel takes what is sent on them.
    let mute = std::net::TcpListener::bind(own_address(0))?;
    for plane in [own_address(1), mute.local_addr()?] {
        let mut agent = Options::no_kernel().begin(impatient(bootstrap("test", true, plane), "0.3s"))?;
        eventually("it is ready", || agent.admin().is_ready());
        // Its lines come by a pipe, so later.
        eventually("it says why", || agent.log().contains("no response came in time"));
        agent.stop()?;
    }
    Ok(())
}

#[test]
fn a_server_that_goes_in_the_middle_of_the_start_is_not_waited_for() -> anyhow::Result<()> {
    let plane = Ads::start(own_address(0))?;
    let agent = Options::no_kernel().begin(impatient(bootstrap("test", true, plane.address()), "0.3s"))?;
    let stream = plane.stream(Duration::from_secs(10))?;
    stream.request::<DeltaRequest>()?;
    // A cluster whose endpoints never come, for there is nobody left to ask.
    let value = encode("envoy.config.cluster.v3.Cluster", &eds_cluster("a"))?.into();
    let resource = Some(Any { type_url: CDS.to_owned(), value });
    let resources = vec![Resource { version: "1".into(), resource, name: "a".into(), aliases: Vec::new() }];
    let (version, type_url) = ("1".to_owned(), CDS.to_owned());
    stream.send(&DeltaResponse { version, resources, type_url, nonce: "n".into(), removed: Vec::new() });
    // Its ACK, or what it asks for next.
    stream.request::<DeltaRequest>()?;
    drop((stream, plane));
    eventually("it is ready", || agent.admin().is_ready());
    Ok(())
}

#[test]
fn to_delete_everything_at_once_is_obeyed_and_logged() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mut mesh = Mesh::start(incremental)?;
        for (kind, name) in [(LDS, "l"), (RDS, "r"), (EDS, "a"), (CDS, "a")] {
            mesh.plane.remove(kind, &[name]);
        }
        eventually("the listener is gone", || mesh.get().is_err());
        eventually("it is told", || {
            let log = mesh.agent.log();
            ["kind=LDS", "kind=CDS"].iter().all(|kind| {
                log.lines().any(|line| line.contains("removed everything of a kind") && line.contains(kind))
            })
        });
        assert!(mesh.agent.log().contains(" WARN "));
        set(&mesh.plane, CDS, &[eds_cluster("a")])?;
        set(&mesh.plane, EDS, &[endpoints("a", &[mesh.two.address()])])?;
        set(&mesh.plane, RDS, &[routes("r", all_to("a"))])?;
        set(&mesh.plane, LDS, &[rds_listener("l", mesh.address, "r")])?;
        eventually("all is back", || mesh.who().is_ok_and(|who| who == "two"));
        mesh.agent.stop()?;
    }
    Ok(())
}

#[test]
fn versions_that_flip_are_followed_and_leave_nothing_behind() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::start(incremental)?;
        let flip = |times: usize| -> anyhow::Result<()> {
            for turn in 0..times {
                let (one, two) = (mesh.one.address(), mesh.two.address());
                let address = if turn % 2 == 0 { two } else { one };
                let version = set(&mesh.plane, EDS, &[endpoints("a", &[address])])?;
                let table = if turn % 2 == 0 { json!([]) } else { all_to("a") };
                set(&mesh.plane, RDS, &[routes("r", table)])?;
                assert_eq!(mesh.plane.answer(EDS, version)?, None);
            }
            Ok(())
        };
        flip(100)?;
        let before = Footprint::of(mesh.agent.pid())?;
        flip(300)?;
        eventually("the last one counts", || mesh.who().is_ok_and(|who| who == "one"));
        let after = Footprint::of(mesh.agent.pid())?;
        let grown = after.resident_kib.saturating_sub(before.resident_kib);
        assert!(grown < 8 << 10, "{grown} KiB more after 300 turns");
    }
    Ok(())
}

#[test]
fn what_never_comes_is_done_without() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::start(incremental)?;
        let soon = with(ads(), json!({ "initial_fetch_timeout": "0.2s" }));
        let address = own_address(10000);
        let mut listener = rds_listener("x", address, "nowhere");
        listener["filter_chains"][0]["filters"][0]["typed_config"]["rds"]["config_source"] = soon.clone();
        set(&mesh.plane, LDS, &[listener])?;
        eventually("it serves without routes", || get(address).is_ok_and(|response| response.status == 404));
        let cluster = with(eds_cluster("b"), json!({ "eds_cluster_config": { "eds_config": soon } }));
        set(&mesh.plane, CDS, &[cluster])?;
        set(&mesh.plane, RDS, &[routes("nowhere", all_to("b"))])?;
        eventually("its cluster has nobody", || get(address).is_ok_and(|response| response.status == 503));
        assert_eq!(mesh.who()?, "one", "the others do not notice");
        set(&mesh.plane, EDS, &[endpoints("b", &[mesh.two.address()])])?;
        eventually("and what comes late is used", || who(address).is_ok_and(|who| who == "two"));
    }
    Ok(())
}

#[test]
fn clusters_of_clusters_are_refused_by_name_also_in_a_circle() -> anyhow::Result<()> {
    let mesh = Mesh::start(true)?;
    let aggregate = |name: &str, of: &str| {
        let config = json!({ "@type": "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig", "clusters": [of] });
        json!({
            "name": name,
            "connect_timeout": "1s",
            "lb_policy": "CLUSTER_PROVIDED",
            "cluster_type": { "name": "envoy.clusters.aggregate", "typed_config": config },
        })
    };
    let version = set(&mesh.plane, CDS, &[aggregate("x", "y"), aggregate("y", "x"), aggregate("z", "z")])?;
    let why = mesh.plane.answer(CDS, version)?.context("they are refused")?;
    for name in ["x", "y", "z"] {
        assert!(why.contains(&format!("cluster {name:?}: cluster_type: not supported")), "{why}");
    }
    assert_eq!(mesh.who()?, "one");
    Ok(())
}

#[test]
fn names_of_a_megabyte_are_refused_wherever_they_stand() -> anyhow::Result<()> {
    let mesh = Mesh::start(true)?;
    let long = "x".repeat(1 << 20);
    let inner: [(&'static str, Value); 3] = [
        (CDS, with(eds_cluster("b"), json!({ "eds_cluster_config": { "eds_config": ads(), "service_name": long } }))),
        (LDS, rds_listener("x", own_address(10000), &long)),
        (RDS, routes("r", all_to(&long))),
    ];
    for (kind, resource) in inner {
        let version = set(&mesh.plane, kind, &[resource])?;
        let why = mesh.plane.answer(kind, version)?.with_context(|| format!("{kind} is refused"))?;
        assert!(why.contains("the limit is 16384 bytes") && why.len() < 1000, "{} bytes: {:.300}", why.len(), why);
    }
    assert_eq!(mesh.who()?, "one");
    assert!(mesh.agent.log().len() < 1 << 20);
    Ok(())
}

#[test]
fn an_agent_ends_at_once_whatever_its_server_does() -> anyhow::Result<()> {
    let plane = Plane::start(own_address(0))?;
    plane.hold(CDS, true);
    let mut agent = Options::no_kernel().begin(bootstrap("test", true, plane.address()))?;
    plane.wait_for_streams(1)?;
    let began = Instant::now();
    agent.stop()?;
    assert!(began.elapsed() < Duration::from_secs(5));
    Ok(())
}
