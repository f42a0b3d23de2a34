//! The client of HTTP/2 cases.
//!
//! The `h2` crate speaks the protocol, but refuses to send what a case is about: doubled or missing pseudo-headers,
//! upper case, connection headers. So it sends a harmless request, and [`Forger`], which sits under it, puts the
//! case's own header block into the frame.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::case::{Op, latin1};
use crate::client1::{After, Outcome, Plan};
use crate::observe::Message;
use crate::upstream2::{ending, lines, receive};

/// Header blocks that wait for their frame.
type Blocks = Arc<Mutex<VecDeque<Vec<u8>>>>;

const CASE: Duration = Duration::from_millis(2500);
const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Sends requests one after the other on one connection.
pub(crate) async fn http(plan: &Plan, requests: Vec<Vec<Op>>) -> Result<Outcome> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, plan.port)).await?;
    let blocks = Blocks::default();
    let forger = Forger { stream, blocks: Arc::clone(&blocks), waiting: Vec::new(), ready: Vec::new(), started: false };
    let (mut sender, connection) = client::Builder::new().handshake::<_, Bytes>(forger).await?;
    let connection = tokio::spawn(async move { connection.await.err().map(|error| ending(&error)) });
    let mut messages = Vec::new();
    for ops in requests {
        let mut message = Message::default();
        if timeout(CASE, request(plan, &mut sender, &blocks, ops, &mut message)).await.is_err() {
            message.end = "timeout".to_owned();
        }
        messages.push(message);
    }
    let linger = plan.linger;
    let after = tokio::spawn(async move {
        let state = match timeout(linger, connection).await {
            Ok(Ok(Some(why))) => why,
            Ok(_) => "closed".to_owned(),
            Err(_) => "open".to_owned(),
        };
        drop(sender);
        After { state, extra: String::new() }
    });
    Ok(Outcome { messages, after })
}

async fn request(plan: &Plan, sender: &mut SendRequest<Bytes>, blocks: &Blocks, ops: Vec<Op>, message: &mut Message) {
    if let Err(error) = exchange(plan, sender, blocks, ops, message).await {
        message.end = ending(&error);
    }
}

async fn exchange(
    plan: &Plan,
    sender: &mut SendRequest<Bytes>,
    blocks: &Blocks,
    ops: Vec<Op>,
    message: &mut Message,
) -> Result<(), h2::Error> {
    std::future::poll_fn(|cx| sender.poll_ready(cx)).await?;
    let mut ops = ops.into_iter();
    let Some(Op::Head(head)) = ops.next() else { panic!("an h2 request begins with its head") };
    let mut dummy = Request::new(());
    *dummy.uri_mut() = http::Uri::from_static("http://forged/");
    if head.lines().any(|line| line == ":method: HEAD") {
        *dummy.method_mut() = http::Method::HEAD;
    }
    let rest: Vec<Op> = ops.collect();
    push(blocks, &head);
    let (response, mut body) = sender.send_request(dummy, rest.is_empty())?;
    let sending = async {
        for op in rest {
            let done = match op {
                Op::Chunk(data) => body.send_data(Bytes::from(latin1(&data)), false),
                Op::End(trailers) if trailers.is_empty() => body.send_data(Bytes::new(), true),
                Op::End(trailers) => {
                    push(blocks, &trailers);
                    let mut dummy = HeaderMap::new();
                    dummy.insert(HeaderName::from_static("forged"), HeaderValue::from_static(""));
                    body.send_trailers(dummy)
                }
                Op::Reset => {
                    body.send_reset(h2::Reason::CANCEL);
                    Ok(())
                }
                Op::Seen => {
                    plan.upstreams.seen().await;
                    Ok(())
                }
                Op::Wait(ms) => {
                    sleep(Duration::from_millis(ms)).await;
                    Ok(())
                }
                other => panic!("{other:?} has no meaning in an h2 request"),
            };
            if done.is_err() {
                break;
            }
        }
    };
    let receiving = async {
        let response = response.await?;
        message.line = response.status().as_u16().to_string();
        message.headers = lines(response.headers());
        receive(&mut response.into_body(), message).await;
        Ok::<(), h2::Error>(())
    };
    tokio::join!(sending, receiving).1
}

fn push(blocks: &Blocks, lines: &str) {
    let mut block = Vec::new();
    for line in lines.lines() {
        let colon = line.get(1..).and_then(|rest| rest.find(':')).map_or(line.len(), |at| at + 1);
        let value = line.get(colon + 1..).unwrap_or_default();
        // Literal, never indexed: the peer's table stays empty.
        block.push(0x10);
        for text in [&line[..colon], value.strip_prefix(' ').unwrap_or(value)] {
            let bytes = latin1(text);
            length(&mut block, bytes.len());
            block.extend(bytes);
        }
    }
    blocks.lock().unwrap_or_else(PoisonError::into_inner).push_back(block);
}

/// An HPACK integer with a prefix of seven bits.
fn length(block: &mut Vec<u8>, mut n: usize) {
    if n < 127 {
        return block.push(n as u8);
    }
    block.push(127);
    n -= 127;
    while n >= 128 {
        block.push((n % 128) as u8 | 128);
        n /= 128;
    }
    block.push(n as u8);
}

/// Exchanges the payload of HEADERS frames on their way out.
struct Forger {
    stream: TcpStream,
    blocks: Blocks,
    /// An unfinished frame.
    waiting: Vec<u8>,
    /// Whole frames, to be written.
    ready: Vec<u8>,
    started: bool,
}

impl Forger {
    fn forge(&mut self) {
        if !self.started && self.waiting.len() >= PREFACE {
            self.ready.extend(self.waiting.drain(..PREFACE));
            self.started = true;
        }
        while self.started && self.waiting.len() >= FRAME_HEAD {
            let length = u32::from_be_bytes([0, self.waiting[0], self.waiting[1], self.waiting[2]]) as usize;
            if self.waiting.len() < FRAME_HEAD + length {
                break;
            }
            let frame: Vec<u8> = self.waiting.drain(..FRAME_HEAD + length).collect();
            let block = (frame[3] == HEADERS)
                .then(|| self.blocks.lock().unwrap_or_else(PoisonError::into_inner).pop_front())
                .flatten();
            match block {
                Some(block) => self.headers(frame[4], &frame[5..FRAME_HEAD], &block),
                None => self.ready.extend(frame),
            }
        }
    }

    fn headers(&mut self, flags: u8, stream: &[u8], block: &[u8]) {
        let pieces: Vec<&[u8]> = if block.is_empty() { vec![&[]] } else { block.chunks(16_384).collect() };
        for (at, piece) in pieces.iter().enumerate() {
            let last = if at + 1 == pieces.len() { END_HEADERS } else { 0 };
            let (kind, flags) = if at == 0 { (HEADERS, (flags & !END_HEADERS) | last) } else { (CONTINUATION, last) };
            self.ready.extend(&(piece.len() as u32).to_be_bytes()[1..]);
            self.ready.extend([kind, flags]);
            self.ready.extend(stream);
            self.ready.extend(*piece);
        }
    }

    fn write_out(&mut self, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        while !self.ready.is_empty() {
            let n = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.ready))?;
            self.ready.drain(..n);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Forger {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Task<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Forger {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Task<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.write_out(cx))?;
        self.waiting.extend_from_slice(buf);
        self.forge();
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        self.write_out(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_out(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
