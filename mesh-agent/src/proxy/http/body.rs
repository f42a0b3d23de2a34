//! Bodies on their way from one side to the other.
//!
//! A [`Source`] lends the bytes it has, a [`Sink`] takes as many as it has room for, and [`Pump`] brings the two together. What
//! the sink does not take stays with the source, which then reads nothing more: that is all the back-pressure there is, and
//! it is the same whichever version of HTTP either side speaks. Nothing is boxed and nothing is queued here.

use std::io;
use std::task::{Context, Poll, ready};

use crate::proxy::http::fields::Fields;
use crate::proxy::http::h2::Reason;

/// What a source has at its front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// At least one byte, to be found in [`Source::chunk`].
    Data,
    /// The body is over.
    End,
}

/// Why one side of an exchange can't go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// The peer closed the connection.
    #[error("connection closed")]
    Closed,
    /// The connection broke.
    #[error("connection broken")]
    Io(#[from] io::Error),
    /// The peer reset the stream.
    #[error("stream reset: {0}")]
    Reset(Reason),
    /// What the peer sent is not HTTP.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// The peer's head is larger than allowed.
    #[error("head too large")]
    HeadTooLarge,
}

impl StreamError {
    /// Whether the peer reset the stream before it looked at the request.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Reset(Reason::REFUSED_STREAM))
    }
}

/// Where a body comes from.
pub(crate) trait Source {
    /// Makes sure that there is something at the front.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, StreamError>>;
    /// The bytes at the front.
    fn chunk(&self) -> &[u8];
    /// Gives up the first `count` bytes of the chunk.
    fn consume(&mut self, count: usize);
    /// What followed the body, once [`Fill::End`] was seen.
    fn trailers(&mut self) -> Option<&Fields>;
}

/// Where a body goes.
pub(crate) trait Sink {
    /// Takes at least one byte from a source that has some.
    fn poll_send<S: Source>(&mut self, cx: &mut Context<'_>, source: &mut S) -> Poll<Result<(), StreamError>>;
    /// The body is over.
    fn finish(&mut self, trailers: Option<&Fields>) -> Result<(), StreamError>;
    /// Hands what was taken to the operating system, as far as this side buffers at all.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>>;
}

/// Both directions of one side.
pub(crate) trait Duplex {
    type Receive<'a>: Source
    where
        Self: 'a;
    type Send<'a>: Sink
    where
        Self: 'a;

    fn halves(&mut self) -> (Self::Receive<'_>, Self::Send<'_>);
}

/// Which side of a pump failed.
#[derive(Debug)]
pub(crate) enum PumpError {
    Source(StreamError),
    Sink(StreamError),
}

impl PumpError {
    /// What went wrong, where it does not matter on which side.
    pub(crate) fn into_inner(self) -> StreamError {
        match self {
            Self::Source(error) | Self::Sink(error) => error,
        }
    }
}

/// One body's way.
#[derive(Debug)]
pub(crate) struct Pump {
    state: State,
    moved: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Moving,
    Flushing,
    Done,
}

impl Pump {
    pub(crate) fn new() -> Self {
        Self { state: State::Moving, moved: 0 }
    }

    /// Whether all of the body, and what follows it, was handed over.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the source's end was seen.
    pub(crate) fn source_ended(&self) -> bool {
        self.state != State::Moving
    }

    /// Counts up whenever something moved.
    pub(crate) fn moved(&self) -> u64 {
        self.moved
    }

    /// Moves what can be moved.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut impl Source,
        sink: &mut impl Sink,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            match self.state {
                State::Moving => match source.poll_fill(cx).map_err(PumpError::Source)? {
                    Poll::Ready(Fill::Data) => {
                        ready!(sink.poll_send(cx, source)).map_err(PumpError::Sink)?;
                        self.moved += 1;
                    }
                    Poll::Ready(Fill::End) => {
                        sink.finish(source.trailers()).map_err(PumpError::Sink)?;
                        self.state = State::Flushing;
                    }
                    // More may take long: what is there must not wait for it.
                    Poll::Pending => {
                        let _ = sink.poll_flush(cx).map_err(PumpError::Sink)?;
                        return Poll::Pending;
                    }
                },
                State::Flushing => {
                    ready!(sink.poll_flush(cx)).map_err(PumpError::Sink)?;
                    self.moved += 1;
                    self.state = State::Done;
                }
                State::Done => return Poll::Ready(Ok(())),
            }
        }
    }
}
