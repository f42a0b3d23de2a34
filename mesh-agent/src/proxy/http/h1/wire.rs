//! One HTTP/1 connection as bytes: what both ends, server and client, have in common.

use std::io;
use std::task::{Context, Poll, ready};

use crate::proxy::http::body::{Duplex, Fill, Source, StreamError};
use crate::proxy::http::fields::Fields;
use crate::proxy::http::h1::buffer::{Input, Output};
use crate::proxy::http::h1::decode::Decoder;
use crate::proxy::http::h1::encode::{Encoding, Sending};
use crate::transport::{ReadHalf, Stream};

/// A connection, its buffers, and where in a message each direction is.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) stream: Stream,
    pub(super) input: Input,
    pub(super) output: Output,
    pub(super) decoder: Decoder,
    pub(super) encoding: Encoding,
    /// Whether trailers are sent and received, or left out.
    pub(super) trailers: bool,
}

impl Wire {
    pub(super) fn new(stream: Stream, read_ahead: &[u8], trailers: bool) -> Self {
        Self {
            stream,
            input: Input::with(read_ahead),
            output: Output::default(),
            decoder: Decoder::default(),
            encoding: Encoding::default(),
            trailers,
        }
    }

    /// Reads once. Ready with 0: the peer has ended.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let (mut stream, _) = self.stream.split();
        self.input.poll_read(cx, &mut stream)
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        let (_, mut stream) = self.stream.split();
        self.output.poll_flush(cx, &mut stream)
    }

    /// Says that nothing more will be sent.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_shutdown(cx)
    }

    /// Gives back the memory of empty buffers.
    pub(super) fn rest(&mut self) {
        self.input.rest();
        self.output.rest();
    }
}

impl Duplex for Wire {
    type Receive<'a> = Receiving<'a>;
    type Send<'a> = Sending<'a>;

    fn halves(&mut self) -> (Receiving<'_>, Sending<'_>) {
        let (read, write) = self.stream.split();
        (
            Receiving { stream: read, input: &mut self.input, decoder: &mut self.decoder, trailers: self.trailers },
            Sending { stream: write, output: &mut self.output, encoding: &mut self.encoding, trailers: self.trailers },
        )
    }
}

/// The receiving half of a connection.
#[derive(Debug)]
pub(crate) struct Receiving<'a> {
    stream: ReadHalf<'a>,
    input: &'a mut Input,
    decoder: &'a mut Decoder,
    trailers: bool,
}

impl Source for Receiving<'_> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, StreamError>> {
        loop {
            if let Some(fill) = self.decoder.fill(self.input)? {
                return Poll::Ready(Ok(fill));
            }
            if ready!(self.input.poll_read(cx, &mut self.stream))? == 0 {
                return Poll::Ready(self.decoder.input_ended());
            }
        }
    }

    fn chunk(&self) -> &[u8] {
        &self.input.bytes()[..self.decoder.at_hand(self.input.len())]
    }

    fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.decoder.used(count);
    }

    fn trailers(&mut self) -> Option<&Fields> {
        if self.trailers { self.decoder.trailers() } else { None }
    }
}
