//! Limits on a request's head, at Envoy's defaults and where they are configured.

use std::time::Duration;

use harness::client::Version;
use harness::config::all_to;
use serde_json::json;

use crate::proxy::Proxy;

#[test]
fn the_head_has_a_size() -> anyhow::Result<()> {
    let proxy = Proxy::start()?;
    assert_eq!(proxy.ask(&with_header(50 * 1024))?.status, 200, "below 60 KiB");
    let mut wire = proxy.wire()?;
    // The agent may refuse before all of it is sent.
    let _ = wire.send(with_header(70 * 1024));
    assert_eq!(wire.response()?.status, 431);
    assert!(wire.closes_within(Duration::from_secs(2)));

    let small = Proxy::with(Version::Http1, all_to("echo"), json!({ "max_request_headers_kb": 8 }))?;
    assert_eq!(small.ask(&with_header(7 * 1024))?.status, 200);
    assert_eq!(small.ask(&with_header(9 * 1024))?.status, 431);
    Ok(())
}

#[test]
fn headers_are_counted() -> anyhow::Result<()> {
    let proxy = Proxy::start()?;
    assert_eq!(proxy.ask(&with_headers(90))?.status, 200);
    assert_eq!(proxy.ask(&with_headers(110))?.status, 431);
    assert_eq!(proxy.upstream.seen().len(), 1);
    Ok(())
}

#[test]
fn a_long_path_counts_too() -> anyhow::Result<()> {
    let proxy = Proxy::start()?;
    let request = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(70 * 1024));
    let mut wire = proxy.wire()?;
    let _ = wire.send(request);
    assert_eq!(wire.response()?.status, 431);
    Ok(())
}

fn with_header(size: usize) -> String {
    format!("GET / HTTP/1.1\r\nhost: a\r\nx-large: {}\r\n\r\n", "x".repeat(size))
}

fn with_headers(count: usize) -> String {
    let headers = (0..count).map(|n| format!("x-{n}: {n}\r\n")).collect::<String>();
    format!("GET / HTTP/1.1\r\nhost: a\r\n{headers}\r\n")
}
