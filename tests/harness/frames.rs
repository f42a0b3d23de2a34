//! HTTP/2 by hand: frames that no client library would send.

use anyhow::ensure;

use crate::wire::Wire;

/// A connection whose preface and settings have been exchanged.
#[derive(Debug)]
pub struct Frames {
    wire: Wire,
    next_stream: u32,
}

/// How the peer answered one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A response with that status (400 is told from others by its indexed field; others are `0`).
    Response(u16),
    /// The stream alone was ended.
    Reset,
    /// The whole connection was ended.
    GoAway,
    /// The connection ended without a word.
    Closed,
}

impl Frames {
    /// Sends preface and settings on a new connection.
    ///
    /// # Errors
    /// If the peer doesn't speak HTTP/2.
    pub fn over(mut wire: Wire) -> anyhow::Result<Self> {
        wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
        wire.send(frame(SETTINGS, 0, 0, &[]))?;
        wire.send(frame(SETTINGS, ACK, 0, &[]))?;
        Ok(Self { wire, next_stream: 1 })
    }

    /// Sends a request with exactly these fields on a new stream, and a body if there is one, and returns its number.
    ///
    /// # Errors
    /// If the peer has closed.
    pub fn request(&mut self, fields: &[(&str, &str)], body: Option<&str>) -> anyhow::Result<u32> {
        let stream = self.next_stream;
        self.next_stream += 2;
        let end = if body.is_none() { END_STREAM } else { 0 };
        self.wire.send(frame(HEADERS, END_HEADERS | end, stream, &block(fields)))?;
        if let Some(body) = body {
            self.wire.send(frame(DATA, END_STREAM, stream, body.as_bytes()))?;
        }
        Ok(stream)
    }

    /// Sends any frame.
    ///
    /// # Errors
    /// If the peer has closed.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> anyhow::Result<()> {
        Ok(self.wire.send(frame(kind, flags, stream, payload))?)
    }

    /// Waits for what becomes of a stream.
    ///
    /// # Errors
    /// If the peer falls silent.
    pub fn verdict(&mut self, stream: u32) -> anyhow::Result<Verdict> {
        loop {
            let Ok(head) = self.wire.read_exact(9) else { return Ok(Verdict::Closed) };
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let on = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
            ensure!(length <= 1 << 20, "a frame of {length} bytes");
            let Ok(payload) = self.wire.read_exact(length) else { return Ok(Verdict::Closed) };
            match head[3] {
                GOAWAY if payload[4..8] != [0; 4] => return Ok(Verdict::GoAway),
                RST_STREAM if on == stream => return Ok(Verdict::Reset),
                HEADERS if on == stream => return Ok(Verdict::Response(status(&payload))),
                _ => {}
            }
        }
    }
}

/// Header block of literal fields: no table, no Huffman code, no check.
#[must_use]
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // Seven bits of length; longer ones continue in sevens.
            if text.len() < 127 {
                block.push(text.len() as u8);
            } else {
                block.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    block.push((rest % 128) as u8 | 128);
                    rest /= 128;
                }
                block.push(rest as u8);
            }
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The status of a response whose first field is an indexed one of the static table.
fn status(block: &[u8]) -> u16 {
    match block.first() {
        Some(0x88) => 200,
        Some(0x8c) => 400,
        Some(0x8d) => 404,
        _ => 0,
    }
}

/// Frame types and flags of RFC 9113.
pub const DATA: u8 = 0;
/// See [`DATA`].
pub const HEADERS: u8 = 1;
/// See [`DATA`].
pub const RST_STREAM: u8 = 3;
/// See [`DATA`].
pub const SETTINGS: u8 = 4;
/// See [`DATA`].
pub const GOAWAY: u8 = 7;
/// See [`DATA`].
pub const ACK: u8 = 1;
/// See [`DATA`].
pub const END_STREAM: u8 = 1;
/// See [`DATA`].
pub const END_HEADERS: u8 = 4;
