//! Bodies as they flow: both ways at once, no faster than the other side reads, and no longer than anybody listens.

use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use harness::client::{Version, block_on, empty};
use harness::config::all_to;
use harness::footprint::Footprint;
use http::Request;
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use serde_json::json;

use crate::proxy::{Proxy, WAYS};

#[test]
fn bodies_flow_both_ways_at_once() -> anyhow::Result<()> {
    for (down, up) in WAYS {
        let proxy = Proxy::with(up, all_to("echo"), json!({}))?;
        block_on(async {
            let mut client = proxy.client(down).await?;
            let (mut sender, body) = Channel::new(1);
            let request = Request::post("http://a.example/mirror").body(body.boxed_unsync())?;
            // The response's head may wait for the first of the request's body.
            sender.send_data(Bytes::from_static(b"first")).await?;
            let mut back = client.send(request).await?.into_body();
            let mut expected = b"first".to_vec();
            for n in 0..50u32 {
                while !expected.is_empty() {
                    let frame = back.frame().await.context("ended early")??;
                    let data = frame.into_data().unwrap_or_default();
                    assert_eq!(data[..], expected[..data.len()], "{down:?} {up:?}");
                    expected.drain(..data.len());
                }
                // Sent only when all before has come back: nothing waits for an end or for more.
                expected = n.to_be_bytes().repeat(100);
                sender.send_data(Bytes::from(expected.clone())).await?;
            }
            drop(sender);
            let rest = back.collect().await?.to_bytes();
            assert_eq!(rest, expected);
            anyhow::Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_stream_arrives_as_it_is_made() -> anyhow::Result<()> {
    let proxy = Proxy::start()?;
    let mut wire = proxy.wire()?;
    let began = Instant::now();
    wire.send("GET /stream?chunks=3&size=5&pause=300 HTTP/1.1\r\nhost: a\r\n\r\n")?;
    wire.read_until(b"xxxxx")?;
    assert!(began.elapsed() < Duration::from_millis(600), "the first chunk waited for others");
    wire.read_until(b"0\r\n\r\n")?;
    assert!(began.elapsed() >= Duration::from_millis(900));
    Ok(())
}

#[test]
fn a_slow_upstream_stops_the_client() -> anyhow::Result<()> {
    let proxy = Proxy::start()?;
    let before = Footprint::of(proxy.agent.pid())?;
    let mut wire = proxy.wire()?;
    wire.send("POST /hang HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n")?;
    wire.stream().set_write_timeout(Some(Duration::from_secs(1)))?;
    let mut stream = wire.stream();
    let block = vec![0; 64 * 1024];
    let mut sent = 0;
    let stopped = loop {
        match stream.write(&block) {
            Ok(written) => sent += written,
            Err(error) => break error,
        }
        assert!(sent < BUFFERS, "{sent} bytes went nowhere");
    };
    assert!(matches!(stopped.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{stopped}");
    grown_little(&proxy, &before)
}

#[test]
fn a_slow_client_stops_the_upstream() -> anyhow::Result<()> {
    for up in [Version::Http1, Version::Http2] {
        let proxy = Proxy::with(up, all_to("echo"), json!({}))?;
        let before = Footprint::of(proxy.agent.pid())?;
        let mut wire = proxy.wire()?;
        wire.send("GET /stream?chunks=4000&size=100000 HTTP/1.1\r\nhost: a\r\n\r\n")?;
        wire.read_until(b"\r\n\r\n")?;
        std::thread::sleep(Duration::from_secs(1));
        grown_little(&proxy, &before)?;
    }
    Ok(())
}

#[test]
fn large_bodies_are_whole() -> anyhow::Result<()> {
    for (down, up) in WAYS {
        let proxy = Proxy::with(up, all_to("echo"), json!({}))?;
        block_on(async {
            let mut client = proxy.client(down).await?;
            let body = Bytes::from((0..10_000_000u32).map(|n| (n % 251) as u8).collect::<Vec<_>>());
            let request = Request::post("http://a.example/mirror").body(harness::client::full(body.clone()))?;
            let answer = client.ask(request).await?;
            assert!(answer.body == body, "{down:?} {up:?}: {} bytes came back", answer.body.len());
            anyhow::Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_client_that_leaves_ends_the_upstream_request() -> anyhow::Result<()> {
    let proxy = Proxy::start()?;
    // One of each of what is opened at first use.
    proxy.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
    std::thread::sleep(Duration::from_millis(200));
    let before = Footprint::of(proxy.agent.pid())?.descriptors;
    for path in ["/hang", "/stream?chunks=1000&size=10&pause=100"] {
        let mut wire = proxy.wire()?;
        wire.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"))?;
        std::thread::sleep(Duration::from_millis(200));
        drop(wire);
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let now = Footprint::of(proxy.agent.pid())?.descriptors;
        if now <= before {
            return Ok(());
        }
        assert!(Instant::now() < deadline, "{now} descriptors, {before} before");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_cut_answer_is_not_a_whole_one() -> anyhow::Result<()> {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this";
    let upstream = harness::tcp::Recorder::start(([127, 0, 0, 1], 0).into(), answer)?;
    let cluster = harness::config::cluster("echo", &[upstream.address()]);
    let (_agent, address) = crate::proxy::http_agent(all_to("echo"), json!({}), &[cluster])?;
    block_on(async {
        for version in [Version::Http1, Version::Http2] {
            let mut client = harness::client::Client::connect(address, version).await?;
            let outcome = client.ask(Request::get("http://a/").body(empty())?).await;
            assert!(outcome.is_err(), "{version:?}: {outcome:?}");
        }
        Ok(())
    })
}

/// The agent has not kept what nobody read.
fn grown_little(proxy: &Proxy, before: &Footprint) -> anyhow::Result<()> {
    let grown = Footprint::of(proxy.agent.pid())?.resident_kib.saturating_sub(before.resident_kib);
    assert!(grown < 16 * 1024, "the agent grew by {grown} KiB");
    Ok(())
}

/// More than all socket buffers on the way hold.
const BUFFERS: usize = 60_000_000;
