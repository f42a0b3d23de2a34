//! Frames that no client library sends: each has its one right answer (RFC 9113, by section), and floods have an end.

use std::future::pending;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::world::{World, endpoint, manager, run};
use crate::model::cluster::{Http2Options, UpstreamProtocol};
use crate::proxy::http::h2::PREFACE;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// `GET http://a/` from the static table, but for the authority. The endpoint never answers.
const REQUEST: &[u8] = b"\x82\x86\x84\x01\x01a";
/// The same to a path that the agent answers with 418.
const DIRECT: &[u8] = b"\x82\x86\x04\x07/direct\x01\x01a";

/// How the agent ended what was begun.
#[derive(Debug, PartialEq, Eq)]
enum End {
    GoAway(u32),
    Reset(u32, u32),
    /// The answer's head came on that stream.
    Answer(u32),
    /// The connection was closed without a word.
    Closed,
}

const PROTOCOL_ERROR: End = End::GoAway(1);
const FLOW_CONTROL_ERROR: End = End::GoAway(3);
const STREAM_CLOSED: End = End::GoAway(5);
const FRAME_SIZE_ERROR: End = End::GoAway(6);
const COMPRESSION_ERROR: End = End::GoAway(9);
const CALM: End = End::GoAway(11);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, REQUEST)
}

fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, REQUEST)
}

async fn world() -> World {
    let mut manager = manager();
    manager.http2 = Http2Options {
        max_concurrent_streams: Some(300),
        initial_stream_window_size: Some(65_535),
        ..Http2Options::default()
    };
    let silent = |stream: TcpStream| async move {
        let _held = stream;
        pending().await
    };
    World::with(endpoint(silent).await, UpstreamProtocol::Http1, manager)
}

/// What comes of these bytes, sent after preface and settings.
async fn end_of(world: &World, bytes: &[u8]) -> End {
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[]), bytes].concat();
    end_of_raw(world.connect().await, &hello).await
}

async fn end_of_raw(client: TcpStream, bytes: &[u8]) -> End {
    let (mut read, mut write) = client.into_split();
    let bytes = bytes.to_vec();
    // The agent may close while we still send.
    let sending = tokio::task::spawn_local(async move {
        let _ = write.write_all(&bytes).await;
        write
    });
    let end = loop {
        let mut head = [0; 9];
        if read.read_exact(&mut head).await.is_err() {
            break End::Closed;
        }
        let [_, l1, l2, kind, _, s0, s1, s2, s3] = head;
        let mut payload = vec![0; usize::from(l1) << 8 | usize::from(l2)];
        read.read_exact(&mut payload).await.expect("a whole frame");
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"));
        match kind {
            GO_AWAY => break End::GoAway(word(4)),
            RESET => break End::Reset(stream, word(0)),
            HEADERS => break End::Answer(stream),
            _ => {}
        }
    };
    sending.abort();
    end
}

#[test]
fn each_frame_has_one_answer() {
    run(async {
        let world = world().await;
        let settings =
            |id: u16, value: u32| frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat());
        for (section, bytes, expect) in [
            ("3.4: SETTINGS first", frame(SETTINGS, 1, 0, &[]), None),
            ("4.1: unknown frames are ignored", [frame(0x42, 0xff, 7, b"x"), get(1)].concat(), None),
            ("4.2: too long", frame(DATA, 0, 1, &[0; 16_385]), Some(FRAME_SIZE_ERROR)),
            ("4.3: no HPACK", frame(HEADERS, 5, 1, &[0x80]), Some(COMPRESSION_ERROR)),
            (
                "4.3: no HPACK in what is refused",
                [post(1), frame(HEADERS, 5, 1, &[0x80])].concat(),
                Some(COMPRESSION_ERROR),
            ),
            ("5.1: DATA on idle", frame(DATA, 0, 1, b"x"), Some(PROTOCOL_ERROR)),
            ("5.1: RST_STREAM on idle", frame(RESET, 0, 1, &[0; 4]), Some(PROTOCOL_ERROR)),
            ("5.1: WINDOW_UPDATE on idle", frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), Some(PROTOCOL_ERROR)),
            ("5.1: DATA after the end", [get(1), frame(DATA, 0, 1, b"x")].concat(), Some(STREAM_CLOSED)),
            ("5.1: HEADERS after the end", [get(1), get(1)].concat(), Some(STREAM_CLOSED)),
            ("5.1.1: even stream", get(2), Some(PROTOCOL_ERROR)),
            ("6.1: DATA on the connection", frame(DATA, 0, 0, b"x"), Some(PROTOCOL_ERROR)),
            ("6.1: only padding", [post(1), frame(DATA, PADDED, 1, b"\x01")].concat(), Some(PROTOCOL_ERROR)),
            ("6.1: no padding length", [post(1), frame(DATA, PADDED, 1, b"")].concat(), Some(FRAME_SIZE_ERROR)),
            ("6.2: HEADERS on the connection", get(0), Some(PROTOCOL_ERROR)),
            ("6.2: padded", frame(HEADERS, 5 | PADDED, 1, &[&[2], DIRECT, &[0, 0]].concat()), Some(End::Answer(1))),
            (
                "6.2: with priority",
                frame(HEADERS, 5 | 0x20, 1, &[&[0, 0, 0, 0, 9], DIRECT].concat()),
                Some(End::Answer(1)),
            ),
            ("6.3: PRIORITY on the connection", frame(PRIORITY, 0, 0, &[0; 5]), Some(PROTOCOL_ERROR)),
            ("6.3: PRIORITY too short", frame(PRIORITY, 0, 1, &[0; 4]), Some(FRAME_SIZE_ERROR)),
            ("6.4: RST_STREAM too short", [post(1), frame(RESET, 0, 1, &[0; 3])].concat(), Some(FRAME_SIZE_ERROR)),
            ("6.5: SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), Some(PROTOCOL_ERROR)),
            ("6.5: odd size", frame(SETTINGS, 0, 0, &[0; 5]), Some(FRAME_SIZE_ERROR)),
            ("6.5: answer with content", frame(SETTINGS, 1, 0, &[0; 6]), Some(FRAME_SIZE_ERROR)),
            ("6.5.2: ENABLE_PUSH", settings(2, 2), Some(PROTOCOL_ERROR)),
            ("6.5.2: INITIAL_WINDOW_SIZE", settings(4, 1 << 31), Some(FLOW_CONTROL_ERROR)),
            ("6.5.2: MAX_FRAME_SIZE", settings(5, 16_383), Some(PROTOCOL_ERROR)),
            ("6.6: PUSH_PROMISE", frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2]), Some(PROTOCOL_ERROR)),
            ("6.7: PING on a stream", frame(PING, 0, 1, &[0; 8]), Some(PROTOCOL_ERROR)),
            ("6.7: PING too short", frame(PING, 0, 0, &[0; 7]), Some(FRAME_SIZE_ERROR)),
            ("6.8: GOAWAY on a stream", frame(GO_AWAY, 0, 1, &[0; 8]), Some(PROTOCOL_ERROR)),
            ("6.9: nothing more", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), Some(PROTOCOL_ERROR)),
            ("6.9: odd size", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), Some(FRAME_SIZE_ERROR)),
            ("6.9.1: too much", frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), Some(FLOW_CONTROL_ERROR)),
            ("6.10: CONTINUATION of nothing", frame(CONTINUATION, 4, 1, REQUEST), Some(PROTOCOL_ERROR)),
            (
                "6.10: interrupted",
                [frame(HEADERS, 1, 1, REQUEST), frame(PING, 0, 0, &[0; 8])].concat(),
                Some(PROTOCOL_ERROR),
            ),
            (
                "6.10: another stream's",
                [frame(HEADERS, 1, 1, b""), frame(CONTINUATION, 4, 3, REQUEST)].concat(),
                Some(PROTOCOL_ERROR),
            ),
            (
                "6.10: in pieces",
                [frame(HEADERS, 1, 1, &DIRECT[..3]), frame(CONTINUATION, 4, 1, &DIRECT[3..])].concat(),
                Some(End::Answer(1)),
            ),
            (
                "8.1: trailers without end",
                [post(1), frame(HEADERS, 4, 1, b"\x00\x01x\x01y")].concat(),
                Some(PROTOCOL_ERROR),
            ),
            (
                "8.1: trailers end it",
                [post(1), frame(HEADERS, 5, 1, b"\x00\x01x\x01y"), frame(DATA, 0, 1, b"x")].concat(),
                Some(STREAM_CLOSED),
            ),
            (
                "8.1.1: malformed head",
                frame(HEADERS, 5, 1, b"\x82\x86\x84\x01\x01a\x00\x01X\x01y"),
                Some(PROTOCOL_ERROR),
            ),
        ] {
            // Without an end of its own, a case is followed by a request that is answered.
            let last = frame(HEADERS, END_HEADERS | END_STREAM, 101, DIRECT);
            let (bytes, expect) = match expect {
                Some(expect) => (bytes, expect),
                None => ([bytes, last].concat(), End::Answer(101)),
            };
            assert_eq!(end_of(&world, &bytes).await, expect, "{section}");
        }
    });
}

#[test]
fn a_connection_begins_as_it_must() {
    run(async {
        let world = world().await;
        let preface = [&PREFACE[..18], b"XX\r\n\r\n"].concat();
        assert_eq!(end_of_raw(world.connect().await, &preface).await, End::Closed, "another preface");
        for first in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 1, 0, &[]), get(1)] {
            let bytes = [PREFACE, &first].concat();
            assert_eq!(end_of_raw(world.connect().await, &bytes).await, PROTOCOL_ERROR, "{first:?}");
        }
    });
}

#[test]
fn streams_end_for_what_concerns_only_them() {
    run(async {
        let world = world().await;
        let length = |length: u8, stream| frame(HEADERS, 4, stream, &[REQUEST, b"\x0f\x0d\x01", &[length]].concat());
        // All of it is there before the stream's own task can make room.
        let more_than_windows = [post(1), frame(DATA, 0, 1, &[0; 16_384]).repeat(5)].concat();
        let large = frame(HEADERS, 4, 1, &[REQUEST, b"\x00\x01x\x7f\x81\x7e", &[b'y'; 16_256]].concat());
        let bomb = {
            // A field of 4000 bytes, then a byte for each time it comes again.
            let field = [&b"\x40\x01x\x7f\xa1\x1e"[..], &[b'y'; 4000]].concat();
            frame(HEADERS, 5, 1, &[REQUEST, &field, &[0xbe; 12_000]].concat())
        };
        let mut many: Vec<u8> = (0..300).flat_map(|n| get(2 * n + 1)).collect();
        many.extend(get(601));
        for (what, bytes, expect) in [
            ("8.1.1: less than announced", [length(b'5', 1), frame(DATA, 1, 1, b"abc")].concat(), End::Reset(1, 1)),
            ("8.1.1: more than announced", [length(b'2', 1), frame(DATA, 0, 1, b"abc")].concat(), End::Reset(1, 1)),
            (
                "6.9.1: a window too large",
                [post(1), frame(WINDOW_UPDATE, 0, 1, &[0x7f, 255, 255, 255])].concat(),
                FLOW_CONTROL_ERROR,
            ),
            ("6.9.1: more than the window", more_than_windows, FLOW_CONTROL_ERROR),
            ("10.5.1: a large head", large, End::Answer(1)),
            ("10.5.1: a head that grows when it is unpacked", bomb, End::Reset(1, 2)),
            ("5.1.2: one stream too many", many, End::Reset(601, 7)),
        ] {
            // The head that is large is not too large: let it be answered.
            let bytes = if expect == End::Answer(1) {
                bytes.into_iter().chain(frame(RESET, 0, 1, &[0; 4])).chain(frame(HEADERS, 5, 3, DIRECT)).collect()
            } else {
                bytes
            };
            let expect = if expect == End::Answer(1) { End::Answer(3) } else { expect };
            assert_eq!(end_of(&world, &bytes).await, expect, "{what}");
        }
    });
}

#[test]
fn floods_end_the_connection() {
    run(async {
        let world = world().await;
        let resets: Vec<u8> =
            (0..250).flat_map(|n| [get(2 * n + 1), frame(RESET, 0, 2 * n + 1, &[0, 0, 0, 8])].concat()).collect();
        let header = [&b"\x00\x01x\x7f\x81\x7e"[..], &[b'y'; 16_256]].concat();
        let endless = [frame(HEADERS, 0, 1, REQUEST), frame(CONTINUATION, 0, 1, &header).repeat(20)].concat();
        for (what, bytes) in [
            ("streams reset at once", resets),
            ("empty DATA", [post(1), frame(DATA, 0, 1, b"").repeat(2)].concat()),
            ("empty CONTINUATION", [frame(HEADERS, 0, 1, REQUEST), frame(CONTINUATION, 0, 1, b"").repeat(2)].concat()),
            ("CONTINUATION without end", endless),
            ("PRIORITY", frame(PRIORITY, 0, 1, &[0; 5]).repeat(101)),
            ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(6)),
        ] {
            assert_eq!(end_of(&world, &bytes).await, CALM, "{what}");
        }
        // What is no flood passes.
        let calm: Vec<u8> =
            (0..249).flat_map(|n| [get(2 * n + 1), frame(RESET, 0, 2 * n + 1, &[0, 0, 0, 8])].concat()).collect();
        let last = frame(HEADERS, 5, 999, DIRECT);
        assert_eq!(end_of(&world, &[calm, last].concat()).await, End::Answer(999));
    });
}

#[test]
fn a_client_that_never_reads_is_left() {
    run(async {
        let world = world().await;
        let (_read, mut write) = world.connect().await.into_split();
        let flood = frame(PING, 0, 0, &[0; 8]).repeat(10_000);
        write.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.expect("open");
        // Its answers fill what the kernel holds for both sides; then the agent neither answers nor reads any more.
        while write.write_all(&flood).await.is_ok() {}
    });
}

/// Frames by dice: mostly sound heads, payloads that are sometimes right. Whatever comes, the connection ends in order.
#[test]
fn garbage_is_survived() {
    run(async {
        let world = world().await;
        let mut state: u32 = 0x9e37_79b9;
        let mut dice = move |sides: u32| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state % sides
        };
        for round in 0..300 {
            let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
            for _ in 0..dice(12) {
                let mut payload: Vec<u8> = match dice(4) {
                    0 => REQUEST.to_vec(),
                    1 => vec![0; dice(20) as usize],
                    2 => [REQUEST, b"\x40\x01x\x83\x1c\x64\x5f\xbe"].concat(),
                    _ => (0..dice(40)).map(|_| dice(256) as u8).collect(),
                };
                if dice(3) == 0 && !payload.is_empty() {
                    let at = dice(payload.len() as u32) as usize;
                    payload[at] = dice(256) as u8;
                }
                bytes.extend(frame(dice(11) as u8, dice(64) as u8, dice(8), &payload));
            }
            let (mut client, task) = world.connect_to_task().await;
            client.write_all(&bytes).await.expect("small enough to be taken");
            client.shutdown().await.expect("open");
            // The agent has to see the end, however far it got.
            let mut rest = Vec::new();
            let _ = client.read_to_end(&mut rest).await;
            task.await.unwrap_or_else(|error| panic!("round {round}: {error}: {bytes:02x?}"));
        }
    });
}
