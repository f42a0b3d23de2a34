//! The two directions of one HTTP/2 stream. Client and server differ in who sends the first head, and in nothing here.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};

use crate::proxy::http::body::{Fill, Sink, Source, StreamError};
use crate::proxy::http::fields::Fields;
use crate::proxy::http::h2::connection::Connection;

/// A place on a connection. Whoever drops it before both sides are over breaks the stream off.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) connection: Rc<Connection>,
    pub(super) id: u32,
    incoming: Incoming,
    /// Our side is over, with the head or after the body.
    pub(super) sent: bool,
}

/// What came in and was not used yet.
#[derive(Debug, Default)]
struct Incoming {
    chunk: Bytes,
    trailers: Option<Fields>,
    over: bool,
}

impl Stream {
    pub(super) fn new(connection: Rc<Connection>, id: u32) -> Self {
        Self { connection, id, incoming: Incoming::default(), sent: false }
    }

    pub(super) fn halves(&mut self) -> (Receiving<'_>, Sending<'_>) {
        let (connection, id) = (&*self.connection, self.id);
        (Receiving { connection, id, incoming: &mut self.incoming }, Sending { connection, id, over: &mut self.sent })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.core().release(self.id, self.incoming.chunk.len());
    }
}

/// The receiving half of a stream.
#[derive(Debug)]
pub(crate) struct Receiving<'a> {
    connection: &'a Connection,
    id: u32,
    incoming: &'a mut Incoming,
}

impl Source for Receiving<'_> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, StreamError>> {
        while self.incoming.chunk.is_empty() {
            if self.incoming.over {
                return Poll::Ready(Ok(Fill::End));
            }
            let mut core = self.connection.core();
            match ready!(core.poll_data(cx, self.id))? {
                Some(chunk) => self.incoming.chunk = chunk,
                None => {
                    self.incoming.trailers = core.take_trailers(self.id);
                    self.incoming.over = true;
                }
            }
        }
        Poll::Ready(Ok(Fill::Data))
    }

    fn chunk(&self) -> &[u8] {
        &self.incoming.chunk
    }

    /// What was taken may be sent again: the other side of the exchange has it.
    fn consume(&mut self, count: usize) {
        self.incoming.chunk.advance(count);
        self.connection.core().give(self.id, count);
    }

    fn trailers(&mut self) -> Option<&Fields> {
        self.incoming.trailers.as_ref()
    }
}

/// The sending half of a stream.
#[derive(Debug)]
pub(crate) struct Sending<'a> {
    connection: &'a Connection,
    id: u32,
    over: &'a mut bool,
}

impl Sink for Sending<'_> {
    fn poll_send<S: Source>(&mut self, cx: &mut Context<'_>, source: &mut S) -> Poll<Result<(), StreamError>> {
        if *self.over {
            return Poll::Ready(Err(StreamError::Malformed("body longer than announced")));
        }
        let count = ready!(self.connection.core().poll_send(cx, self.id, source.chunk()))?;
        source.consume(count);
        Poll::Ready(Ok(()))
    }

    fn finish(&mut self, trailers: Option<&Fields>) -> Result<(), StreamError> {
        if std::mem::replace(self.over, true) {
            return Ok(());
        }
        self.connection.core().finish(self.id, trailers)
    }

    /// The connection's own task writes; all that can be seen here is that the peer wants no more.
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        Poll::Ready(Ok(()))
    }
}
