//! Sockets that are not plain TCP connects: what the mesh makes of them is decided, and never breaks them.

use anyhow::{Context as _, ensure};
use harness::world::Pod;
use mesh_agent::model::flow::Direction;
use serde_json::Value;

use crate::rig::address;
use crate::rig_or_skip;

#[test]
fn a_fast_open_is_steered_like_a_connect() -> anyhow::Result<()> {
    let rig = rig_or_skip!("app");
    let told = odd(rig.pod("app"), "fast-open", &["10.96.0.1:80"])?;
    assert_eq!(
        (told[0]["peer"].as_str(), told[0]["said"].as_str()),
        (Some("10.96.0.1:80"), Some("Some(10.96.0.1:80)"))
    );
    assert_eq!(rig.wait_accepted(0)?.direction, Direction::Outbound);
    Ok(())
}

#[test]
fn a_socket_that_connects_again_is_asked_again() -> anyhow::Result<()> {
    let rig = rig_or_skip!("app");
    let services = ["10.96.0.1:80", "10.96.0.2:81"];
    let told = odd(rig.pod("app"), "again", &services)?;
    for (n, service) in services.into_iter().enumerate() {
        assert_eq!(told[n]["peer"].as_str(), Some(service));
        assert_eq!(rig.wait_accepted(n)?.destination, Some(service.parse()?));
    }
    Ok(())
}

/// Its first subflow is a TCP socket like any other; only the socket in front of it does not know what was asked for.
#[test]
fn multipath_tcp_is_steered_and_knows_the_agent_as_its_peer() -> anyhow::Result<()> {
    let rig = rig_or_skip!("app");
    let Ok(told) = odd(rig.pod("app"), "multipath", &["10.96.0.1:80"]) else {
        eprintln!("skipped: this kernel has no MPTCP");
        return Ok(());
    };
    assert_eq!(rig.wait_accepted(0)?.destination, Some("10.96.0.1:80".parse()?));
    assert_eq!(told[0]["said"].as_str(), Some("Some(10.96.0.1:80)"));
    assert!(address(&told[0]["peer"])?.ip().is_loopback());
    Ok(())
}

#[test]
fn a_raw_socket_goes_its_own_way() -> anyhow::Result<()> {
    let rig = rig_or_skip!("app", "server");
    let target = rig.pod("server").at(7)[0];
    let told = odd(rig.pod("app"), "raw", &[&target.to_string()])?;
    assert_eq!(address(&told[0]["peer"])?.ip(), target.ip());
    assert_eq!(address(&told[0]["local"])?.ip(), rig.pod("app").v4());
    assert_eq!(rig.count("steered"), 0);
    Ok(())
}

/// A limit: answers to an address that is not this host's do not find their way over loopback.
#[test]
fn a_transparent_socket_with_a_foreign_address_gets_no_answer() -> anyhow::Result<()> {
    let rig = rig_or_skip!("app");
    let app = rig.pod("app");
    let told = odd(app, "transparent", &["10.96.0.1:80"])?;
    assert_eq!(told[0]["error"].as_str(), Some("timed out"));
    // With an address of its own it is a socket like any other.
    let own = app.at(0)[0].to_string();
    let told = odd(app, "transparent", &["--from", &own, "10.96.0.1:80"])?;
    assert_eq!(told[0]["said"].as_str(), Some("Some(10.96.0.1:80)"));
    Ok(())
}

/// What `mesh-peer odd` tells of each address.
fn odd(pod: &Pod, way: &str, to: &[&str]) -> anyhow::Result<Vec<Value>> {
    let peer = harness::binaries::peer()?;
    let mut words = vec!["odd", "--way", way];
    words.extend(to);
    let output = pod.run(peer.to_str().context("a path of UTF-8")?, &words)?;
    ensure!(output.status.success(), "{}", output.text());
    output.lines.iter().map(|line| Ok(serde_json::from_str(line)?)).collect()
}
