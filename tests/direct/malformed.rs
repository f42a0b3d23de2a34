//! HTTP/1.1 that somebody else might read otherwise: refused, the connection closed, nothing of it forwarded.

use std::time::Duration;

use anyhow::ensure;
use harness::config::{all_to, cluster};
use harness::tcp::Recorder;
use harness::wire::Wire;
use serde_json::json;

use crate::proxy::http_agent;

/// What is wrong, and the bytes.
type Case = (&'static str, &'static [u8]);

#[test]
fn malformed_heads_are_refused_and_never_forwarded() -> anyhow::Result<()> {
    let upstream = Recorder::start(([127, 0, 0, 1], 0).into(), OK)?;
    let (_agent, address) = http_agent(all_to("echo"), json!({}), &[cluster("echo", &[upstream.address()])])?;
    never_forwarded(
        &upstream,
        HEADS,
        |case| case.0,
        |_| true,
        |&(_, bytes)| {
            let mut wire = Wire::connect(address)?;
            wire.send(bytes)?;
            // A second request right behind is what smuggling is for.
            let _ = wire.send(b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n");
            let status = wire.response()?.status;
            // Which of them is right for which case, the comparison with Envoy tells.
            ensure!(matches!(status, 400 | 426 | 501), "{status}");
            ensure!(wire.closes_within(Duration::from_secs(2)), "still open");
            Ok(())
        },
    )
}

/// Runs all cases, then fails with all that were not refused as `refused` wants it. The first of which anything came through is
/// the last: what follows could not be told from it. `head_counts`: not even its head may.
pub(crate) fn never_forwarded<C>(
    upstream: &Recorder,
    cases: &[C],
    name: impl Fn(&C) -> &str,
    head_counts: impl Fn(&C) -> bool,
    refused: impl Fn(&C) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut failures = Vec::new();
    for case in cases {
        if let Err(error) = refused(case) {
            failures.push(format!("{}: {error:#}", name(case)));
        }
        if head_counts(case) && !upstream.bytes().is_empty() {
            let bytes = String::from_utf8_lossy(&upstream.bytes()).into_owned();
            failures.push(format!("{}: forwarded {bytes:?}", name(case)));
            break;
        }
    }
    ensure!(failures.is_empty(), "{failures:#?}");
    Ok(())
}

#[test]
fn malformed_bodies_end_both_connections() -> anyhow::Result<()> {
    for &(name, body) in BODIES {
        let upstream = Recorder::start(([127, 0, 0, 1], 0).into(), b"")?;
        let (_agent, address) = http_agent(all_to("echo"), json!({}), &[cluster("echo", &[upstream.address()])])?;
        let mut wire = Wire::connect(address)?;
        wire.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")?;
        // The agent may have closed before all is sent.
        let _ = wire.send(body);
        let _ = wire.send(b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n");
        let answer = String::from_utf8_lossy(&wire.read_to_end()?).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{name}: {answer:?}");
        let forwarded = String::from_utf8_lossy(&upstream.bytes()).into_owned();
        assert!(!forwarded.contains("smuggled"), "{name}: {forwarded:?}");
        assert!(!forwarded.ends_with("0\r\n\r\n"), "{name}: the upstream took it for whole: {forwarded:?}");
    }
    Ok(())
}

#[test]
fn a_request_without_host_is_refused() -> anyhow::Result<()> {
    let proxy = crate::proxy::Proxy::start()?;
    // It has a clear end, so the connection may live on.
    assert_eq!(proxy.ask("GET / HTTP/1.1\r\n\r\n")?.status, 400);
    assert_eq!(proxy.upstream.seen(), [""; 0]);
    Ok(())
}

#[test]
fn odd_but_sound_requests_pass() -> anyhow::Result<()> {
    let proxy = crate::proxy::Proxy::start()?;
    let sound = [
        "GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHOST:a\r\nX-Empty:\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx-tab: a\tb \t\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx-high: \u{e9}\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: Chunked\r\n\r\n3;a=b\r\nabc\r\n000\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0003\r\n\r\nabc",
    ];
    for request in sound {
        let response = proxy.ask(request)?;
        assert_eq!(response.status, 200, "{request:?}: {}", response.text());
    }
    Ok(())
}

#[test]
fn malformed_answers_become_502() -> anyhow::Result<()> {
    let answers: [&'static [u8]; 8] = [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header: x\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-le",
    ];
    for answer in answers {
        let upstream = Recorder::start(([127, 0, 0, 1], 0).into(), answer)?;
        let (_agent, address) = http_agent(all_to("echo"), json!({}), &[cluster("echo", &[upstream.address()])])?;
        let mut wire = Wire::connect(address)?;
        wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
        let response = wire.response()?;
        assert!(matches!(response.status, 502 | 503), "{:?}: {response:?}", String::from_utf8_lossy(answer));
    }
    Ok(())
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

const HEADS: &[Case] = &[
    ("both lengths", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    (
        "both lengths, turned",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
    ),
    ("two lengths", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd"),
    ("two lengths in one", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3, 4\r\n\r\nabcd"),
    ("signed length", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +3\r\n\r\nabc"),
    ("negative length", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -3\r\n\r\nabc"),
    ("length with rest", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3x\r\n\r\nabc"),
    ("hexadecimal length", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0x3\r\n\r\nabc"),
    ("no length in it", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length:\r\n\r\nabc"),
    ("length too long", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999\r\n\r\nabc"),
    ("folded header", b"GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n"),
    ("folded with tab", b"GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n\tb\r\n\r\n"),
    ("folded first header", b"GET / HTTP/1.1\r\n host: a\r\n\r\n"),
    ("bare CR in value", b"GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n"),
    ("bare CR ends line", b"GET / HTTP/1.1\r\nhost: a\rx: b\r\n\r\n"),
    ("bare LF ends line", b"GET / HTTP/1.1\nhost: a\n\n"),
    ("bare LF ends header", b"GET / HTTP/1.1\r\nhost: a\nx: b\r\n\r\n"),
    ("NUL in value", b"GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n"),
    ("NUL in name", b"GET / HTTP/1.1\r\nhost: a\r\nx\0: a\r\n\r\n"),
    ("NUL in path", b"GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("space before colon", b"GET / HTTP/1.1\r\nhost : a\r\n\r\n"),
    ("space before colon of length", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length : 3\r\n\r\nabc"),
    ("tab before colon", b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding\t: chunked\r\n\r\n0\r\n\r\n"),
    ("space in name", b"GET / HTTP/1.1\r\nhost: a\r\nx y: a\r\n\r\n"),
    ("no name", b"GET / HTTP/1.1\r\nhost: a\r\n: a\r\n\r\n"),
    ("no colon", b"GET / HTTP/1.1\r\nhost: a\r\nnonsense\r\n\r\n"),
    ("high byte in name", b"GET / HTTP/1.1\r\nhost: a\r\nx\xe9: a\r\n\r\n"),
    ("control byte in value", b"GET / HTTP/1.1\r\nhost: a\r\nx: a\x01b\r\n\r\n"),
    ("unknown coding", b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("chunked not last", b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    (
        "chunked twice",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("no version", b"GET /\r\n\r\n"),
    ("unknown version", b"GET / HTTP/3.7\r\nhost: a\r\n\r\n"),
    ("version in lower case", b"GET / http/1.1\r\nhost: a\r\n\r\n"),
    ("HTTP/1.0", b"GET / HTTP/1.0\r\nhost: a\r\n\r\n"),
    ("method is no token", b"G@T / HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("no method", b" / HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("two spaces", b"GET  / HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("space in path", b"GET /a b HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("space after version", b"GET / HTTP/1.1 \r\nhost: a\r\n\r\n"),
    ("path without slash", b"GET a HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("fragment", b"GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("TLS to a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
];

const BODIES: &[(&str, &[u8])] = &[
    ("size too long", b"FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n"),
    ("size no number", b"xyz\r\nabc\r\n0\r\n\r\n"),
    ("size empty", b"\r\nabc\r\n0\r\n\r\n"),
    ("size signed", b"+3\r\nabc\r\n0\r\n\r\n"),
    ("size with prefix", b"0x3\r\nabc\r\n0\r\n\r\n"),
    ("space before size", b" 3\r\nabc\r\n0\r\n\r\n"),
    ("bare LF after size", b"3\nabc\r\n0\r\n\r\n"),
    ("bare CR in extension", b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
    ("more than said", b"3\r\nabcd\r\n0\r\n\r\n"),
    ("bare LF after data", b"3\r\nabc\n0\r\n\r\n"),
    ("bad trailer", b"3\r\nabc\r\n0\r\nx y: z\r\n\r\n"),
    ("folded trailer", b"3\r\nabc\r\n0\r\nx: y\r\n z\r\n\r\n"),
];
