//! Frames that wait to be written.
//!
//! All streams write into one buffer, which the connection's task hands to the kernel when it runs next: answers that are ready at
//! the same time leave in one system call. Bodies stop at [`LIMIT`]; heads go beyond it, one for each stream at most; and the frames
//! a peer can ask for without reading the answers are counted.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use crate::proxy::http::h2::frame::{self, END_HEADERS, END_STREAM, HEAD, Kind, MAX_PAYLOAD};
use crate::proxy::http::h2::reason::{Fault, Reason};
use crate::transport::Stream;

/// Bytes from which on no more of a body is taken.
const LIMIT: usize = 256 * 1024;
/// Answers to the peer's own frames (PING, SETTINGS, streams refused) that may wait: Envoy's default.
const MAX_CONTROL: usize = 1000;
/// Memory that is kept while nothing waits.
const KEEP: usize = 64 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Output {
    data: Vec<u8>,
    written: usize,
    /// Bytes written before those in `data`: with it, a place in `data` is a place in the whole stream of bytes.
    before: u64,
    /// Where control frames end that wait.
    control: VecDeque<u64>,
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.written == self.data.len()
    }

    /// Whether a body may go on.
    pub(super) fn has_room(&self) -> bool {
        self.data.len() - self.written < LIMIT
    }

    /// Bytes written so far.
    pub(super) fn total(&self) -> u64 {
        self.before + self.written as u64
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
    }

    /// A frame that is our own doing.
    pub(super) fn frame(&mut self, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
        self.data.extend_from_slice(&frame::head(payload.len(), kind, flags, stream));
        self.data.extend_from_slice(payload);
    }

    /// A frame that the peer has made us send.
    pub(super) fn control(&mut self, kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Result<(), Fault> {
        self.frame(kind, flags, stream, payload);
        let written = self.total();
        while self.control.front().is_some_and(|end| *end <= written) {
            self.control.pop_front();
        }
        self.control.push_back(self.before + self.data.len() as u64);
        if self.control.len() > MAX_CONTROL {
            return Err(Fault::new(Reason::ENHANCE_YOUR_CALM, "answers that are not read"));
        }
        Ok(())
    }

    /// A piece of a body. Tells where its flags are, for [`Output::end_at`].
    pub(super) fn body(&mut self, stream: u32, bytes: &[u8]) -> u64 {
        let begin = self.before + self.data.len() as u64;
        self.frame(Kind::Data, 0, stream, bytes);
        begin + 4
    }

    /// Makes a piece of a body the last one, if it still waits.
    pub(super) fn end_at(&mut self, flags: u64) -> bool {
        let waits = flags >= self.total();
        if waits {
            self.data[(flags - self.before) as usize] |= END_STREAM;
        }
        waits
    }

    /// A header block, in as many frames as it takes.
    pub(super) fn headers(&mut self, stream: u32, end: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.data.len();
        self.data.extend_from_slice(&[0; HEAD]);
        write(&mut self.data);
        let end = if end { END_STREAM } else { 0 };
        let length = self.data.len() - begin - HEAD;
        if length <= MAX_PAYLOAD {
            self.data[begin..begin + HEAD].copy_from_slice(&frame::head(
                length,
                Kind::Headers,
                END_HEADERS | end,
                stream,
            ));
            return;
        }
        let block = self.data.split_off(begin + HEAD);
        self.data.truncate(begin);
        let mut pieces = block.chunks(MAX_PAYLOAD).peekable();
        let (mut kind, mut flags) = (Kind::Headers, end);
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_none() {
                flags |= END_HEADERS;
            }
            self.frame(kind, flags, stream, piece);
            (kind, flags) = (Kind::Continuation, 0);
        }
    }

    /// Forgets what waits, as if it were written.
    pub(super) fn discard(&mut self) {
        self.before += self.data.len() as u64;
        self.written = 0;
        self.data.clear();
    }

    /// Writes what can be written. Ready: all of it.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<std::io::Result<()>> {
        while !self.is_empty() {
            match ready!(stream.poll_write(cx, &self.data[self.written..]))? {
                0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
            // Before all is written, too: a peer that reads slowly must not make this grow.
            if self.is_empty() || self.written > LIMIT / 2 {
                self.before += self.written as u64;
                self.data.drain(..self.written);
                self.written = 0;
            }
        }
        if self.data.capacity() > KEEP {
            self.data = Vec::new();
        }
        stream.poll_flush(cx)
    }

    /// Gives the memory back if nothing waits.
    pub(super) fn rest(&mut self) {
        if self.is_empty() {
            self.data = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, MAX_CONTROL, Output};

    #[test]
    fn unread_answers_are_counted() {
        let mut output = Output::default();
        for _ in 0..MAX_CONTROL {
            output.control(Kind::Ping, 1, 0, &[0; 8]).expect("not too many yet");
        }
        assert!(output.control(Kind::Ping, 1, 0, &[0; 8]).is_err());
        output.discard();
        output.control(Kind::Ping, 1, 0, &[0; 8]).expect("all before were written");
    }

    #[test]
    fn large_header_blocks_are_cut() {
        let mut output = Output::default();
        output.headers(1, true, |to| to.resize(to.len() + 40_000, b'x'));
        let frames = [(0, 16_384, 1, 1), (16_393, 16_384, 9, 0), (32_786, 7232, 9, 4)];
        for (at, length, kind, flags) in frames {
            let head = super::frame::FrameHead::read(&output.data[at..]).expect("a frame");
            assert_eq!((head.length, head.kind as u8, head.flags), (length, kind, flags));
        }
        assert_eq!(output.data.len(), 32_786 + 9 + 7232);
    }

    #[test]
    fn the_last_piece_ends_the_stream_only_while_it_waits() {
        let mut output = Output::default();
        let flags = output.body(1, b"abc");
        assert!(output.end_at(flags));
        assert_eq!(output.data[4], 1);
        output.discard();
        assert!(!output.end_at(flags));
    }
}
