//! HTTP/2 requests that have no meaning: the stream or the connection ends, and nothing is forwarded.

use anyhow::bail;
use harness::config::{all_to, cluster};
use harness::frames::{Frames, Verdict};
use harness::tcp::Recorder;
use harness::wire::Wire;
use serde_json::json;

use crate::malformed::never_forwarded;
use crate::proxy::http_agent;

#[test]
fn malformed_requests_are_refused_and_never_forwarded() -> anyhow::Result<()> {
    let upstream = Recorder::start(([127, 0, 0, 1], 0).into(), OK)?;
    let (_agent, address) = http_agent(all_to("echo"), json!({}), &[cluster("echo", &[upstream.address()])])?;
    // A length that is wrong shows only when the body has been counted: its head may have gone ahead.
    let head_counts = |case: &Case| case.2.is_none();
    never_forwarded(
        &upstream,
        CASES,
        |case| case.0,
        head_counts,
        |&(_, fields, body)| {
            let mut frames = Frames::over(Wire::connect(address)?)?;
            let stream = frames.request(fields, body)?;
            match frames.verdict(stream)? {
                Verdict::GoAway => Ok(()),
                // Only this message is wrong, not what tells messages apart.
                Verdict::Reset if body.is_some() => Ok(()),
                other => bail!("{other:?}"),
            }
        },
    )
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

/// What is wrong, the fields, the body.
type Case = (&'static str, Fields, Option<&'static str>);

/// All of them. Those with a body come last: their head may be forwarded before it is read.
const CASES: &[Case] = &[
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
