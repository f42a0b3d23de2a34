//! The client of HTTP/1 and plain TCP cases: writes what the case says, byte for byte, and records what comes back.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::case::{Op, text};
use crate::observe::Message;
use crate::upstream1::{read_until, reset, write};
use crate::wire::{Ending, Framing, Wire, response_framing, status};
use crate::world::Upstreams;

/// What the client saw, and a task that finds out what becomes of the connection.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) messages: Vec<Message>,
    pub(crate) after: JoinHandle<After>,
}

/// What becomes of a connection once the answers are in.
#[derive(Debug)]
pub(crate) struct After {
    /// `open` or `closed`.
    pub(crate) state: String,
    /// Bytes that nobody asked for.
    pub(crate) extra: String,
}

/// Longer than the second that Envoy leaves a client to close first.
pub(crate) const LINGER: Duration = Duration::from_millis(1500);

/// Silence that ends the record of a connection without a protocol.
const QUIET: Duration = Duration::from_millis(700);

/// Longest life of a case.
const CASE: Duration = Duration::from_millis(2500);

/// What a script is sent with.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) port: u16,
    /// For steps that wait for them.
    pub(crate) upstreams: Arc<Upstreams>,
    /// How long the connection's end is waited for.
    pub(crate) linger: Duration,
}

/// Sends HTTP/1 and reads `responses` final responses.
pub(crate) async fn http(plan: &Plan, ops: Vec<Op>, responses: Option<usize>) -> Result<Outcome> {
    let methods = methods(&ops);
    let responses = responses.unwrap_or(methods.len().max(1));
    let (reader, writer) = TcpStream::connect((Ipv4Addr::LOCALHOST, plan.port)).await?.into_split();
    let (progress, seen) = watch::channel(0);
    let writer = tokio::spawn(send(writer, ops, seen, Arc::clone(&plan.upstreams)));
    let mut wire = Wire::new(reader);
    let mut messages = Vec::new();
    let reading = read_responses(&mut wire, &methods, responses, &progress, &mut messages);
    if timeout(CASE, reading).await.is_err() {
        messages.push(Message { end: "timeout".to_owned(), ..Message::default() });
    }
    Ok(Outcome { messages, after: watch_end(wire, writer, plan.linger) })
}

/// Sends bytes and reads until the peer ends or falls silent.
pub(crate) async fn tcp(plan: &Plan, ops: Vec<Op>) -> Result<Outcome> {
    let (reader, writer) = TcpStream::connect((Ipv4Addr::LOCALHOST, plan.port)).await?.into_split();
    let (progress, seen) = watch::channel(0);
    let writer = tokio::spawn(send(writer, ops, seen, Arc::clone(&plan.upstreams)));
    let mut wire = Wire::new(reader);
    let mut message = Message::default();
    let mut bytes = 0;
    let mut quiet = false;
    while wire.ended.is_none() && !quiet {
        quiet = timeout(QUIET, read_until(&mut wire, &mut message, bytes + 1)).await.is_err();
        bytes = message.body.chars().count();
        progress.send_replace(bytes);
    }
    message.end = match wire.ended {
        _ if quiet => "open",
        Some(Ending::Reset) => "reset",
        _ => "eof",
    }
    .to_owned();
    Ok(Outcome { messages: vec![message], after: watch_end(wire, writer, plan.linger) })
}

async fn read_responses(
    wire: &mut Wire<OwnedReadHalf>,
    methods: &[String],
    responses: usize,
    progress: &watch::Sender<usize>,
    messages: &mut Vec<Message>,
) {
    let mut finals = 0;
    while finals < responses {
        let Some(mut message) = wire.head().await else { return };
        if message.end == "cut" {
            messages.push(message);
            return;
        }
        let interim = matches!(status(&message), 100..=199) && status(&message) != 101;
        let method = methods.get(finals).or(methods.last()).map_or("GET", String::as_str);
        let framing = response_framing(method, &message);
        // What follows in a tunnel depends on the other side of it, so a script goes on at its head.
        if framing == Framing::Tunnel {
            progress.send_modify(|n| *n += 1);
        }
        wire.body(framing, &mut message).await;
        messages.push(message);
        if framing != Framing::Tunnel {
            progress.send_modify(|n| *n += 1);
        }
        finals += usize::from(!interim);
    }
}

/// Runs a script. The connection's writing half is handed back, so that it lives on.
async fn send(
    mut writer: OwnedWriteHalf,
    ops: Vec<Op>,
    mut seen: watch::Receiver<usize>,
    upstreams: Arc<Upstreams>,
) -> Option<OwnedWriteHalf> {
    for op in ops {
        let done = match op {
            Op::Await(n) => seen.wait_for(|count| *count >= n).await.is_ok(),
            Op::Seen => {
                upstreams.seen().await;
                true
            }
            Op::Close => return None,
            Op::Reset => {
                reset(&writer);
                return None;
            }
            // The proxy may have answered and closed before it has read all: that is for the reader to tell.
            op => write(&mut writer, &op).await.is_ok(),
        };
        if !done {
            break;
        }
    }
    Some(writer)
}

fn watch_end(
    mut wire: Wire<OwnedReadHalf>,
    writer: JoinHandle<Option<OwnedWriteHalf>>,
    linger: Duration,
) -> JoinHandle<After> {
    tokio::spawn(async move {
        let ended = timeout(linger, async { while wire.fill().await {} }).await.is_ok();
        writer.abort();
        let state = if ended { "closed" } else { "open" };
        After { state: state.to_owned(), extra: text(&wire.rest()) }
    })
}

/// The methods of a script's requests, which decide how responses are framed.
fn methods(ops: &[Op]) -> Vec<String> {
    let heads = ops.iter().filter_map(|op| match op {
        Op::Head(head) => Some(head),
        _ => None,
    });
    heads.map(|head| head.split(' ').next().unwrap_or_default().to_owned()).collect()
}
