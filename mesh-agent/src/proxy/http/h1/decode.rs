//! Where an HTTP/1 body ends, and what of the input is body (RFC 9112, 6 and 7).
//!
//! Works on the input in place: it says how many bytes at the front are body, and skips what is only framing. Sizes that
//! overflow, extensions without end and line ends without CR are refused, not guessed.

#[cfg(test)]
mod tests;

use crate::proxy::http::body::{Fill, StreamError};
use crate::proxy::http::fields::Fields;
use crate::proxy::http::h1::buffer::Input;
use crate::proxy::http::h1::parse::{self, EndSearch, HeadLimits, ParseError};
use crate::proxy::http::head::BodySize;

/// Longest chunk line: the size and whatever extensions follow it.
const CHUNK_LINE: usize = 4096;
/// What trailers may measure.
const TRAILERS: HeadLimits = HeadLimits { bytes: 60 * 1024, headers: 100 };

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// With the connection.
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the body: so many bytes of it, or of the chunk, are still to come.
    Data(u64),
    /// At a chunk's line.
    ChunkLine,
    /// At the CRLF that ends a chunk.
    ChunkEnd,
    /// After the last chunk.
    Trailers,
    Done,
}

/// Follows one body.
#[derive(Debug)]
pub(super) struct Decoder {
    framing: Framing,
    state: State,
    trailers: Fields,
    /// Trailers that come in many small pieces are not parsed for each.
    search: EndSearch,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            framing: Framing::Length(0),
            state: State::Done,
            trailers: Fields::default(),
            search: EndSearch::default(),
        }
    }
}

impl Decoder {
    /// A body begins.
    pub(super) fn start(&mut self, framing: Framing) {
        self.trailers.clear();
        self.search.reset();
        self.framing = framing;
        self.state = match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Data(length),
            Framing::Chunked => State::ChunkLine,
            Framing::Close => State::Data(u64::MAX),
        };
    }

    /// How much is still to come.
    pub(super) fn size(&self) -> BodySize {
        match (self.state, self.framing) {
            (State::Done, _) => BodySize::Empty,
            (State::Data(left), Framing::Length(_)) => BodySize::Known(left),
            _ => BodySize::Unknown,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether only the peer's closing ends the body.
    pub(super) fn ends_with_connection(&self) -> bool {
        self.framing == Framing::Close
    }

    pub(super) fn trailers(&self) -> Option<&Fields> {
        (!self.trailers.is_empty()).then_some(&self.trailers)
    }

    /// What is at the front of `input`; `None` if that takes more bytes to say.
    pub(super) fn fill(&mut self, input: &mut Input) -> Result<Option<Fill>, StreamError> {
        loop {
            match self.state {
                State::Done => return Ok(Some(Fill::End)),
                State::Data(_) => return Ok((!input.is_empty()).then_some(Fill::Data)),
                State::ChunkLine => {
                    let Some((size, line)) = chunk_line(input.bytes())? else { return Ok(None) };
                    input.consume(line);
                    self.state = if size == 0 { State::Trailers } else { State::Data(size) };
                }
                State::ChunkEnd => match input.bytes() {
                    [b'\r', b'\n', ..] => {
                        input.consume(2);
                        self.state = State::ChunkLine;
                    }
                    [] | [b'\r'] => return Ok(None),
                    _ => return Err(StreamError::Malformed("chunk longer than announced")),
                },
                State::Trailers => {
                    if input.is_empty() || !self.search.worth_parsing(input.bytes()) {
                        return Ok(None);
                    }
                    let parsed =
                        parse::trailers(input.bytes(), TRAILERS, &mut self.trailers).map_err(|error| match error {
                            ParseError::Malformed(what) => StreamError::Malformed(what),
                            _ => StreamError::HeadTooLarge,
                        })?;
                    let Some(size) = parsed else { return Ok(None) };
                    input.consume(size);
                    self.state = State::Done;
                }
            }
        }
    }

    /// How much of `available` bytes at the front is body.
    pub(super) fn at_hand(&self, available: usize) -> usize {
        match self.state {
            State::Data(left) => usize::try_from(left).map_or(available, |left| left.min(available)),
            _ => 0,
        }
    }

    /// So many bytes of body were used.
    pub(super) fn used(&mut self, count: usize) {
        if let (State::Data(left), false) = (self.state, self.framing == Framing::Close) {
            let left = left - count as u64;
            self.state = match (left, self.framing) {
                (0, Framing::Chunked) => State::ChunkEnd,
                (0, _) => State::Done,
                (left, _) => State::Data(left),
            };
        }
    }

    /// The peer ended. Whether that ends the body, or breaks it off.
    pub(super) fn input_ended(&mut self) -> Result<Fill, StreamError> {
        if self.framing == Framing::Close {
            self.state = State::Done;
        }
        if self.is_done() { Ok(Fill::End) } else { Err(StreamError::Closed) }
    }
}

/// The size a chunk line announces, and the line's length. `None`: it is not complete.
fn chunk_line(bytes: &[u8]) -> Result<Option<(u64, usize)>, StreamError> {
    let mut size: u64 = 0;
    let mut digits = 0;
    for byte in bytes {
        let Some(digit) = char::from(*byte).to_digit(16) else { break };
        if size > u64::MAX >> 4 {
            return Err(StreamError::Malformed("chunk size overflows"));
        }
        size = size << 4 | u64::from(digit);
        digits += 1;
    }
    let rest = &bytes[digits..];
    if digits == 0 && !rest.is_empty() {
        return Err(StreamError::Malformed("chunk size"));
    }
    match rest {
        [] => Ok(None),
        [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => Ok(Some((size, digits + 2))),
        [b';' | b' ' | b'\t', ..] => extension(rest).map(|end| end.map(|end| (size, digits + end))),
        _ => Err(StreamError::Malformed("chunk size")),
    }
}

/// Length of a chunk extension with its line end. What it says is nobody's business.
fn extension(bytes: &[u8]) -> Result<Option<usize>, StreamError> {
    let begin = bytes.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
    if begin.is_some_and(|byte| !matches!(byte, b';' | b'\r')) {
        return Err(StreamError::Malformed("chunk size"));
    }
    match memchr::memchr3(b'\r', b'\n', 0, bytes) {
        Some(at) => match &bytes[at..] {
            [b'\r', b'\n', ..] => Ok(Some(at + 2)),
            [b'\r'] => Ok(None),
            _ => Err(StreamError::Malformed("chunk extension")),
        },
        None if bytes.len() > CHUNK_LINE => Err(StreamError::Malformed("chunk extension too long")),
        None => Ok(None),
    }
}
