//! HTTP/1 messages read as they are on the wire, for both the client and the upstreams.
//!
//! Lenient on purpose: it must show what a proxy sent, right or wrong.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::case::text;
use crate::observe::Message;

/// A reader that keeps what was read too far.
#[derive(Debug)]
pub(crate) struct Wire<R> {
    reader: R,
    buffer: Vec<u8>,
    /// How the peer ended its direction, once it has.
    pub(crate) ended: Option<Ending>,
}

/// How a direction of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Closed,
    Reset,
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(usize),
    Chunked,
    Eof,
    Tunnel,
}

/// Silence that ends a tunnel's record.
const QUIET: Duration = Duration::from_millis(300);

impl<R: AsyncRead + Unpin> Wire<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), ended: None }
    }

    /// What came beyond the last message.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Reads once. False at the end.
    pub(crate) async fn fill(&mut self) -> bool {
        if self.ended.is_some() {
            return false;
        }
        self.buffer.reserve(16 * 1024);
        match self.reader.read_buf(&mut self.buffer).await {
            Ok(0) => self.ended = Some(Ending::Closed),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::ConnectionReset => self.ended = Some(Ending::Reset),
            Err(_) => self.ended = Some(Ending::Closed),
        }
        self.ended.is_none()
    }

    /// Start line and headers. `None` if the connection ended before the first byte.
    pub(crate) async fn head(&mut self) -> Option<Message> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            if !self.fill().await {
                if self.buffer.is_empty() {
                    return None;
                }
                let body = text(&self.rest());
                return Some(Message { body, end: "cut".to_owned(), ..Message::default() });
            }
        };
        let head = text(&self.buffer[..end]);
        self.buffer.drain(..end + 4);
        let mut lines = head.split("\r\n").map(str::to_owned);
        let line = lines.next().unwrap_or_default();
        Some(Message { line, headers: lines.collect(), ..Message::default() })
    }

    /// The body into `message`, with what ended it.
    pub(crate) async fn body(&mut self, framing: Framing, message: &mut Message) {
        message.end = match framing {
            Framing::None => "none",
            Framing::Length(length) => {
                while self.buffer.len() < length && self.fill().await {}
                let whole = self.buffer.len() >= length;
                message.body = text(&self.take(length));
                if whole { "length" } else { "cut" }
            }
            Framing::Chunked => match self.chunks(message).await {
                Some(()) => "chunked",
                None => "cut",
            },
            Framing::Eof => {
                while self.fill().await {}
                message.body = text(&self.rest());
                if self.ended == Some(Ending::Reset) { "cut" } else { "eof" }
            }
            Framing::Tunnel => {
                while let Ok(true) = timeout(QUIET, self.fill()).await {}
                message.body = text(&self.rest());
                "tunnel"
            }
        }
        .to_owned();
    }

    async fn chunks(&mut self, message: &mut Message) -> Option<()> {
        loop {
            let size = self.line().await?;
            let digits = size.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(digits.trim(), 16).ok()?;
            if size == 0 {
                break;
            }
            while self.buffer.len() < size + 2 && self.fill().await {}
            let whole = self.buffer.len() >= size + 2;
            let data = self.take(size);
            message.body.push_str(&text(&data));
            if !whole || self.take(2) != b"\r\n" {
                return None;
            }
        }
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Some(());
            }
            message.trailers.push(line);
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = text(&self.buffer[..end]);
                self.buffer.drain(..end + 2);
                return Some(line);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    fn take(&mut self, most: usize) -> Vec<u8> {
        let n = most.min(self.buffer.len());
        self.buffer.drain(..n).collect()
    }
}

/// Framing of a response to `method`.
pub(crate) fn response_framing(method: &str, message: &Message) -> Framing {
    let status = status(message);
    match status {
        101 => Framing::Tunnel,
        200..300 if method == "CONNECT" => Framing::Tunnel,
        100..200 | 204 | 304 => Framing::None,
        _ if method == "HEAD" => Framing::None,
        _ => declared(message).unwrap_or(Framing::Eof),
    }
}

/// Framing of a request.
pub(crate) fn request_framing(message: &Message) -> Framing {
    declared(message).unwrap_or(Framing::None)
}

/// Status code of a response, 0 if it has none.
pub(crate) fn status(message: &Message) -> u16 {
    message.line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// Value of a header.
pub(crate) fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.headers.iter().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn declared(message: &Message) -> Option<Framing> {
    if header(message, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return Some(Framing::Chunked);
    }
    header(message, "content-length").and_then(|n| n.parse().ok()).map(Framing::Length)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
