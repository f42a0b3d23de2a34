//! The two directions of one HTTP/2 stream. Client and server differ in who sends the first head, and in nothing here.

use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{RecvStream, SendStream};

use crate::proxy::http::body::{Fill, Sink, Source, StreamError};
use crate::proxy::http::fields::Fields;
use crate::proxy::http::h2::convert;
use crate::proxy::http::head::BodySize;
use crate::proxy::http::name::Name;

/// What comes in: `None` until the peer's head is here.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    stream: Option<RecvStream>,
    chunk: Bytes,
    trailers: Option<Fields>,
    over: bool,
}

impl Incoming {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream: Some(stream), ..Self::default() }
    }

    /// How much is still to come, with `fields` as the head's.
    pub(super) fn size(&self, fields: &Fields) -> BodySize {
        if self.is_over() {
            return BodySize::Empty;
        }
        match fields.get_str(Name::ContentLength).and_then(|length| length.parse().ok()) {
            Some(length) => BodySize::Known(length),
            None => BodySize::Unknown,
        }
    }

    fn is_over(&self) -> bool {
        self.over || self.stream.as_ref().is_some_and(|stream| self.chunk.is_empty() && stream.is_end_stream())
    }
}

/// The receiving half of a stream.
#[derive(Debug)]
pub(crate) struct Receiving<'a>(pub(super) &'a mut Incoming);

impl Receiving<'_> {
    /// What was taken may be sent again: the other side of the exchange has it.
    fn release(&mut self, count: usize) {
        if let Some(stream) = &mut self.0.stream {
            // Fails only for more than was received.
            let _ = stream.flow_control().release_capacity(count);
        }
    }
}

impl Source for Receiving<'_> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, StreamError>> {
        let incoming = &mut *self.0;
        let Some(stream) = &mut incoming.stream else { return Poll::Pending };
        while incoming.chunk.is_empty() {
            if incoming.over {
                return Poll::Ready(Ok(Fill::End));
            }
            match ready!(stream.poll_data(cx)) {
                Some(Ok(chunk)) => incoming.chunk = chunk,
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                None => {
                    if let Some(map) = ready!(stream.poll_trailers(cx))? {
                        let mut trailers = Fields::default();
                        convert::append(&map, &mut trailers);
                        incoming.trailers = Some(trailers);
                    }
                    incoming.over = true;
                }
            }
        }
        Poll::Ready(Ok(Fill::Data))
    }

    fn chunk(&self) -> &[u8] {
        &self.0.chunk
    }

    fn consume(&mut self, count: usize) {
        self.0.chunk.advance(count);
        self.release(count);
    }

    fn take(&mut self, count: usize) -> Bytes {
        let bytes = self.0.chunk.split_to(count);
        self.release(count);
        bytes
    }

    fn trailers(&mut self) -> Option<&Fields> {
        self.0.trailers.as_ref()
    }
}

/// What goes out: `None` until our head is sent.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pub(super) stream: Option<SendStream<Bytes>>,
    /// The end was sent, with the head or after the body.
    pub(super) over: bool,
}

/// The sending half of a stream.
#[derive(Debug)]
pub(crate) struct Sending<'a>(pub(super) &'a mut Outgoing);

impl Sink for Sending<'_> {
    fn poll_send<S: Source>(&mut self, cx: &mut Context<'_>, source: &mut S) -> Poll<Result<(), StreamError>> {
        let Some(stream) = self.0.stream.as_mut().filter(|_| !self.0.over) else {
            return Poll::Ready(Err(StreamError::Malformed("body longer than announced")));
        };
        let wanted = source.chunk().len();
        stream.reserve_capacity(wanted);
        let mut room = stream.capacity();
        while room == 0 {
            room = match ready!(stream.poll_capacity(cx)) {
                Some(room) => room?,
                None => return Poll::Ready(Err(StreamError::Closed)),
            };
        }
        stream.send_data(source.take(room.min(wanted)), false)?;
        Poll::Ready(Ok(()))
    }

    fn finish(&mut self, trailers: Option<&Fields>) -> Result<(), StreamError> {
        let Some(stream) = &mut self.0.stream else { return Ok(()) };
        if std::mem::replace(&mut self.0.over, true) {
            return Ok(());
        }
        match trailers {
            Some(trailers) => stream.send_trailers(convert::to_map(trailers)?)?,
            None => stream.send_data(Bytes::new(), true)?,
        }
        Ok(())
    }

    /// The connection's own task writes; all that can be seen here is that the peer wants no more.
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        Poll::Ready(Ok(()))
    }
}

impl From<h2::Error> for StreamError {
    fn from(error: h2::Error) -> Self {
        match error.reason() {
            _ if error.is_go_away() => Self::Closed,
            Some(h2::Reason::PROTOCOL_ERROR) if error.is_library() => Self::Malformed("HTTP/2 protocol error"),
            Some(reason) => Self::Reset(reason),
            None => error.into_io().map_or(Self::Closed, Self::Io),
        }
    }
}
