//! What servers do wrong: the client says so, goes on, and comes back no faster than it should.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::ads::Ads;
use harness::ads::message::{Any, CDS, Response};
use harness::config::own_address;
use prost::Message as _;

use crate::rig::{Rig, Talk, WAIT, body, said, send, server};
use mesh_agent::model::resource::ResourceKind;
use mesh_agent::xds::delivery::Want;

#[test]
fn garbage_ends_the_stream_and_the_client_comes_back() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let Talk { ads, mut rig, stream, .. } = Talk::open(incremental)?;
        stream.send_bytes(vec![0xff; 100]);
        stream.wait_for_end(WAIT)?;
        let stream = ads.stream(WAIT)?;
        // Not even gRPC: a flag that means nothing.
        stream.send_raw(vec![9, 0, 0, 0, 1, 1]);
        stream.wait_for_end(WAIT)?;
        let stream = ads.stream(WAIT)?;
        said(&stream)?;
        send(&stream, CDS, "1", &["a=x"], &[]);
        assert_eq!(rig.take()?.0, ["a"]);
    }
    Ok(())
}

#[test]
fn a_message_that_is_too_large_is_not_read() -> anyhow::Result<()> {
    let Talk { ads, mut rig, stream, .. } = Talk::open(false)?;
    // 65 MiB are announced. Nobody waits for them.
    stream.send_raw([&[0][..], &(65u32 << 20).to_be_bytes(), &[0; 1000]].concat());
    stream.wait_for_end(WAIT)?;
    let failure = rig.client.status().view().last_failure.expect("a failure");
    assert!(failure.contains("too large"), "{failure}");
    let stream = ads.stream(WAIT)?;
    said(&stream)?;
    send(&stream, CDS, "1", &["a=x"], &[]);
    assert_eq!(rig.take()?.0, ["a"]);
    Ok(())
}

#[test]
fn a_message_as_large_as_allowed_is_read() -> anyhow::Result<()> {
    let Talk { mut rig, stream, ads: _ads, .. } = Talk::start(false)?;
    let mut large = body("a", "x").to_vec();
    // Field 3: 60 MiB of nothing.
    large.extend([0x1a, 0x80, 0x80, 0x80, 0x1e]);
    large.resize(large.len() + (60 << 20), 0);
    let any = Any { type_url: CDS.to_owned(), value: large.into() };
    stream.send(&Response { version: "1".into(), resources: vec![any], type_url: CDS.into(), nonce: "n".into() });
    assert_eq!(rig.take()?.0, ["a"]);
    assert!(said(&stream)?.error.is_none());
    Ok(())
}

#[test]
fn a_server_that_hangs_up_is_not_hammered() -> anyhow::Result<()> {
    let ads = Ads::start(own_address(0))?;
    let _rig = Rig::of(&ads, true)?;
    let began = Instant::now();
    let mut streams = 0;
    while let Some(left) = Duration::from_secs(3).checked_sub(began.elapsed()) {
        if let Ok(stream) = ads.stream(left) {
            streams += 1;
            stream.end(14, "not now");
        }
    }
    // Waits are 31 ms to 500 ms, then up to 1 s, 2 s, 4 s: by the worst of luck some eight in that time.
    assert!((2..=12).contains(&streams), "{streams} streams in 3 s");
    Ok(())
}

#[test]
fn a_type_that_nobody_asked_for_is_ignored_and_counted() -> anyhow::Result<()> {
    for talk in Talk::both() {
        let Talk { mut rig, stream, ads: _ads, .. } = talk?;
        send(&stream, "type.googleapis.com/envoy.service.runtime.v3.Runtime", "1", &["r=x"], &[]);
        send(&stream, CDS, "1", &["a=x"], &[]);
        assert_eq!(rig.take()?.0, ["a"]);
        assert_eq!(said(&stream)?.type_url, CDS, "an answer would ask for more of it");
        assert_eq!(rig.client.status().view().ignored, 1);
    }
    Ok(())
}

#[test]
fn the_same_again_and_again_changes_nothing_and_is_answered() -> anyhow::Result<()> {
    for talk in Talk::both() {
        let Talk { mut rig, stream, ads: _ads, .. } = talk?;
        send(&stream, CDS, "1", &["a=x"], &[]);
        assert_eq!(rig.take()?.0, ["a"]);
        said(&stream)?;
        for turn in 0..2000 {
            send(&stream, CDS, &turn.to_string(), &["a=x"], &[]);
        }
        for turn in 0..2000 {
            assert_eq!(rig.take()?, (vec![], vec![]));
            assert_eq!(said(&stream).with_context(|| format!("turn {turn}"))?.nonce, format!("nonce {turn}"));
        }
    }
    Ok(())
}

#[test]
fn a_client_that_is_dropped_ends_its_stream_at_once() -> anyhow::Result<()> {
    let Talk { rig, stream, ads: _ads, .. } = Talk::start(true)?;
    send(&stream, CDS, "1", &["a=x"], &[]);
    let began = Instant::now();
    drop(rig);
    stream.wait_for_end(WAIT)?;
    assert!(began.elapsed() < Duration::from_secs(2));
    Ok(())
}

#[test]
fn a_server_that_sends_byte_by_byte_is_heard_out() -> anyhow::Result<()> {
    let Talk { mut rig, stream, ads: _ads, .. } = Talk::start(false)?;
    let any = Any { type_url: CDS.to_owned(), value: body("a", "x") };
    let response = Response { version: "1".into(), resources: vec![any], type_url: CDS.into(), nonce: "n".into() };
    let message = response.encode_to_vec();
    let head = [&[0][..], &u32::try_from(message.len())?.to_be_bytes()].concat();
    for byte in head.into_iter().chain(message) {
        stream.send_raw(vec![byte]);
        // Long enough for most of them to be a packet of their own.
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(rig.take()?.0, ["a"]);
    assert!(said(&stream)?.error.is_none());
    Ok(())
}

#[test]
fn a_peer_that_vanishes_without_a_word_is_found_out_by_the_kernel() -> anyhow::Result<()> {
    let Talk { rig: _rig, stream: _stream, ads, .. } = Talk::start(true)?;
    let SocketAddr::V4(server) = ads.address() else { anyhow::bail!("an IPv4 address") };
    let server = format!("{:08X}:{:04X}", u32::from(*server.ip()).swap_bytes(), server.port());
    let began = Instant::now();
    // The fields of /proc/net/tcp: number, local, remote, state, queues, timer (02: probes of an idle connection).
    let is_probed = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields.get(2) == Some(&server.as_str()) && fields.get(5).is_some_and(|timer| timer.starts_with("02:"))
    };
    while !std::fs::read_to_string("/proc/net/tcp")?.lines().any(is_probed) {
        anyhow::ensure!(began.elapsed() < WAIT, "nobody would notice");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[test]
fn a_server_that_takes_nothing_is_only_one_that_fails() -> anyhow::Result<()> {
    // It accepts connections and says nothing, not even HTTP/2's preface.
    let mute = std::net::TcpListener::bind(own_address(0))?;
    let ads = Ads::start(own_address(0))?;
    let servers = vec![server(mute.local_addr()?), server(ads.address())];
    let rig = Rig::start(true, servers, &[Want::All(ResourceKind::Cluster)])?;
    ads.stream(Duration::from_secs(25)).context("the second server is not reached past the mute one")?;
    assert!(rig.client.status().view().last_failure.expect("a failure").contains("does not answer"));
    Ok(())
}
