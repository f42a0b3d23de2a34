//! Time limits, and upstreams that are not there.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use harness::client::Version;
use harness::config::{all_to, cluster, own_address, with};
use harness::wire::Wire;
use serde_json::json;

use crate::proxy::{Proxy, http_agent};

#[test]
fn a_route_timeout_is_504() -> anyhow::Result<()> {
    for up in [Version::Http1, Version::Http2] {
        let routes = json!([{ "match": { "prefix": "/" }, "route": { "cluster": "echo", "timeout": "0.3s" } }]);
        let proxy = Proxy::with(up, routes, json!({}))?;
        let began = Instant::now();
        let response = proxy.ask("GET /hang HTTP/1.1\r\nhost: a\r\n\r\n")?;
        let took = began.elapsed();
        assert_eq!(response.status, 504, "{up:?}");
        assert!(took > Duration::from_millis(250) && took < Duration::from_secs(2), "{took:?}");
        let quick = proxy.ask("GET /slow?ms=50 HTTP/1.1\r\nhost: a\r\n\r\n")?;
        assert_eq!(quick.status, 200, "{up:?}");
    }
    Ok(())
}

#[test]
fn a_route_without_timeout_waits() -> anyhow::Result<()> {
    let routes = json!([{ "match": { "prefix": "/" }, "route": { "cluster": "echo", "timeout": "0s" } }]);
    let proxy = Proxy::with(Version::Http1, routes, json!({}))?;
    assert_eq!(proxy.ask("GET /slow?ms=1000 HTTP/1.1\r\nhost: a\r\n\r\n")?.status, 200);
    Ok(())
}

#[test]
fn a_refused_connection_is_503() -> anyhow::Result<()> {
    let nobody = own_address(9);
    let (_agent, address) = http_agent(all_to("gone"), json!({}), &[cluster("gone", &[nobody])])?;
    let mut wire = Wire::connect(address)?;
    // The connection of the client lives on.
    for _ in 0..3 {
        wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
        assert_eq!(wire.response()?.status, 503);
    }
    Ok(())
}

#[test]
fn a_connection_that_hangs_is_503_in_time() -> anyhow::Result<()> {
    // A listener whose backlog is full answers no further SYN.
    let listener = std::net::TcpListener::bind(own_address(0))?;
    let address = listener.local_addr()?;
    let full = fill(address)?;
    let slow = with(cluster("slow", &[address]), json!({ "connect_timeout": "0.3s" }));
    let (_agent, proxy) = http_agent(all_to("slow"), json!({}), &[slow])?;
    let began = Instant::now();
    let mut wire = Wire::connect(proxy)?;
    wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
    assert_eq!(wire.response()?.status, 503);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    drop(full);
    Ok(())
}

#[test]
fn an_upstream_that_closes_without_an_answer_is_503() -> anyhow::Result<()> {
    let upstream = harness::serve::Server::start(([127, 0, 0, 1], 0).into(), |stream, _| async move {
        // Read first: closing with unread bytes would be a reset.
        let _ = stream.readable().await;
        let _ = stream.try_read(&mut [0; 4096]);
    })?;
    let (_agent, address) = http_agent(all_to("bad"), json!({}), &[cluster("bad", &[upstream.address()])])?;
    let mut wire = Wire::connect(address)?;
    wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
    assert_eq!(wire.response()?.status, 503);
    Ok(())
}

#[test]
fn an_idle_connection_is_closed() -> anyhow::Result<()> {
    let fields = json!({ "common_http_protocol_options": { "idle_timeout": "0.3s" } });
    let proxy = Proxy::with(Version::Http1, all_to("echo"), fields)?;
    let mut wire = proxy.wire()?;
    wire.send("GET /slow?ms=600 HTTP/1.1\r\nhost: a\r\n\r\n")?;
    assert_eq!(wire.response()?.status, 200, "a request is no idleness");
    assert!(wire.closes_within(Duration::from_secs(2)));
    Ok(())
}

#[test]
fn a_head_that_never_ends_is_408() -> anyhow::Result<()> {
    let proxy = Proxy::with(Version::Http1, all_to("echo"), json!({ "request_headers_timeout": "0.3s" }))?;
    let mut wire = proxy.wire()?;
    wire.send("GET / HTTP/1.1\r\nhost: a\r\nx: ")?;
    assert_eq!(wire.response()?.status, 408);
    assert!(wire.closes_within(Duration::from_secs(2)));
    Ok(())
}

/// Connects to `address` until its backlog takes no more.
fn fill(address: SocketAddr) -> anyhow::Result<Vec<std::net::TcpStream>> {
    let mut held = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        held.push(stream);
        anyhow::ensure!(held.len() < 10_000, "a backlog without end");
    }
    Ok(held)
}
