//! HTTP/2 requests that have no meaning: the stream or the connection ends, and nothing is forwarded.

use harness::config::{all_to, cluster};
use harness::frames::{Frames, Verdict};
use harness::tcp::Recorder;
use harness::wire::Wire;
use serde_json::json;

use crate::proxy::http_agent;

#[test]
fn malformed_requests_are_refused_and_never_forwarded() -> anyhow::Result<()> {
    let upstream = Recorder::start(([127, 0, 0, 1], 0).into(), OK)?;
    let (_agent, address) = http_agent(all_to("echo"), json!({}), &[cluster("echo", &[upstream.address()])])?;
    let mut failures = Vec::new();
    for &(name, fields, body) in CASES {
        let mut frames = Frames::over(Wire::connect(address)?)?;
        let stream = frames.request(fields, body)?;
        match frames.verdict(stream) {
            Ok(Verdict::Response(400) | Verdict::Reset | Verdict::GoAway) => {}
            other => failures.push(format!("{name}: {other:?}")),
        }
        // A length that is wrong shows only when the body has been counted: its head may have gone ahead.
        if body.is_none() && !upstream.bytes().is_empty() {
            let bytes = String::from_utf8_lossy(&upstream.bytes()).into_owned();
            failures.push(format!("{name}: forwarded {bytes:?}"));
            break;
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    Ok(())
}

#[test]
fn a_sound_request_by_hand_passes() -> anyhow::Result<()> {
    let proxy = crate::proxy::Proxy::start()?;
    let mut frames = Frames::over(proxy.wire()?)?;
    let stream = frames.request(&[METHOD, SCHEME, PATH, AUTHORITY], None)?;
    assert_eq!(frames.verdict(stream)?, Verdict::Response(200));
    Ok(())
}

type Fields = &'static [(&'static str, &'static str)];

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/");
const AUTHORITY: (&str, &str) = (":authority", "a");

/// What is wrong, the fields, the body. Those with a body come last: their head may be forwarded before it is read.
const CASES: &[(&str, Fields, Option<&str>)] = &[
    ("no method", &[SCHEME, PATH, AUTHORITY], None),
    ("no path", &[METHOD, SCHEME, AUTHORITY], None),
    ("no scheme", &[METHOD, PATH, AUTHORITY], None),
    ("empty path", &[METHOD, SCHEME, (":path", ""), AUTHORITY], None),
    ("two paths", &[METHOD, SCHEME, PATH, (":path", "/b"), AUTHORITY], None),
    ("two methods", &[METHOD, (":method", "POST"), SCHEME, PATH, AUTHORITY], None),
    ("two authorities", &[METHOD, SCHEME, PATH, AUTHORITY, (":authority", "b")], None),
    ("unknown pseudo-header", &[METHOD, SCHEME, PATH, AUTHORITY, (":own", "1")], None),
    ("status in a request", &[METHOD, SCHEME, PATH, AUTHORITY, (":status", "200")], None),
    ("pseudo-header after others", &[METHOD, SCHEME, ("x", "y"), PATH, AUTHORITY], None),
    ("upper case", &[METHOD, SCHEME, PATH, AUTHORITY, ("X-Own", "1")], None),
    ("connection", &[METHOD, SCHEME, PATH, AUTHORITY, ("connection", "close")], None),
    ("transfer-encoding", &[METHOD, SCHEME, PATH, AUTHORITY, ("transfer-encoding", "chunked")], None),
    ("te other than trailers", &[METHOD, SCHEME, PATH, AUTHORITY, ("te", "gzip")], None),
    ("line break in value", &[METHOD, SCHEME, PATH, AUTHORITY, ("x", "a\r\nhost: b")], None),
    ("NUL in value", &[METHOD, SCHEME, PATH, AUTHORITY, ("x", "a\0b")], None),
    ("space in name", &[METHOD, SCHEME, PATH, AUTHORITY, ("x y", "a")], None),
    ("line break in path", &[METHOD, SCHEME, (":path", "/ HTTP/1.1\r\nhost: b\r\n\r\n"), AUTHORITY], None),
    ("space in path", &[METHOD, SCHEME, (":path", "/a b"), AUTHORITY], None),
    ("space in method", &[(":method", "GET /x"), SCHEME, PATH, AUTHORITY], None),
    ("line break in authority", &[METHOD, SCHEME, PATH, (":authority", "a\r\nx: y")], None),
    ("length without a body", &[(":method", "POST"), SCHEME, PATH, AUTHORITY, ("content-length", "3")], None),
    (
        "two lengths",
        &[(":method", "POST"), SCHEME, PATH, AUTHORITY, ("content-length", "3"), ("content-length", "4")],
        Some("abc"),
    ),
    ("less than its length", &[(":method", "POST"), SCHEME, PATH, AUTHORITY, ("content-length", "4")], Some("abc")),
    ("more than its length", &[(":method", "POST"), SCHEME, PATH, AUTHORITY, ("content-length", "2")], Some("abc")),
];

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
