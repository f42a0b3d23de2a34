//! The connection's task at its socket: bytes in, frames out.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::time::Instant;

use crate::proxy::http::h2::PREFACE;
use crate::proxy::http::h2::connection::{Connection, Core, Leaving, Over};
use crate::proxy::http::h2::frame::{FrameHead, HEAD, Kind, MAX_PAYLOAD};
use crate::proxy::http::h2::reason::{Fault, Reason};
use crate::transport::Stream;

/// What is asked of the kernel at once: a frame of the largest size, and what is likely to come with it.
const READ: usize = 2 * (MAX_PAYLOAD + HEAD);
/// Reads after which other tasks get their turn.
const READS: usize = 8;

/// A connection's socket.
#[derive(Debug)]
pub(in super::super) struct Io {
    connection: Rc<Connection>,
    stream: Stream,
    input: BytesMut,
    /// The client's first bytes were seen.
    begun: bool,
    read: u64,
    told_read: u64,
    told_written: u64,
}

impl Io {
    pub(in super::super) fn new(connection: Rc<Connection>, stream: Stream, input: BytesMut) -> Self {
        let begun = !connection.core().is_server();
        let read = input.len() as u64;
        Self { connection, stream, input, begun, read, told_read: 0, told_written: 0 }
    }

    /// Reads, answers and writes what can be. Ready when the connection is over and all that could be was written.
    pub(in super::super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let connection = Rc::clone(&self.connection);
        let mut core = connection.core();
        // It runs already.
        core.task = None;
        if core.over.is_none()
            && let Err(over) = self.poll_receive(cx, &mut core)
        {
            core.end(over);
        }
        // Whoever was in the way of a last stream is gone by now.
        if core.leaving == Leaving::Final && core.streams.is_empty() && core.requests.is_empty() {
            core.end(Over::Closed);
        }
        let had_room = core.output.has_room();
        let flushed = core.output.poll_flush(cx, &mut self.stream);
        if !had_room {
            core.next_turn();
        }
        match flushed {
            Poll::Ready(Err(_)) => {
                core.end(Over::Closed);
                return Poll::Ready(());
            }
            Poll::Ready(Ok(())) if core.over.is_some() => return Poll::Ready(()),
            // An endpoint that does not even read why is not waited for.
            Poll::Pending if core.over.is_some() && !core.is_server() => return Poll::Ready(()),
            _ => {}
        }
        if core.streams.is_empty() {
            // Nothing to do for now: hold no memory.
            core.output.rest();
            if self.input.is_empty() {
                self.input = BytesMut::new();
            }
        }
        core.task = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Bytes read and written since this was asked last.
    pub(in super::super) fn take_totals(&mut self) -> (u64, u64) {
        let written = self.connection.core().output.total();
        let since = (self.read - self.told_read, written - self.told_written);
        (self.told_read, self.told_written) = (self.read, written);
        since
    }

    /// Closes so that the peer reads what was sent last: its own bytes, if any still come, must not turn into a reset.
    pub(in super::super) async fn linger(mut self) {
        if std::future::poll_fn(|cx| self.stream.poll_shutdown(cx)).await.is_err() {
            return;
        }
        loop {
            self.input.clear();
            self.input.reserve(READ);
            if !matches!(std::future::poll_fn(|cx| self.stream.poll_read(cx, &mut self.input)).await, Ok(1..)) {
                return;
            }
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>, core: &mut Core) -> Result<(), Over> {
        for _ in 0..READS {
            self.handle(core).map_err(Over::Fault)?;
            match self.poll_read(cx) {
                Poll::Ready(Ok(1..)) => core.now = Instant::now(),
                Poll::Ready(_) => return Err(Over::Closed),
                Poll::Pending => return Ok(()),
            }
        }
        cx.waker().wake_by_ref();
        self.handle(core).map_err(Over::Fault)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        if self.input.capacity() == 0 {
            // No memory before there are bytes.
            ready!(self.stream.poll_read_ready(cx))?;
        }
        if self.input.capacity() - self.input.len() < MAX_PAYLOAD {
            self.input.reserve(READ);
        }
        let read = ready!(self.stream.poll_read(cx, &mut self.input))?;
        self.read += read as u64;
        Poll::Ready(Ok(read))
    }

    /// Handles all whole frames.
    fn handle(&mut self, core: &mut Core) -> Result<(), Fault> {
        if !self.begun {
            let length = self.input.len().min(PREFACE.len());
            if self.input[..length] != PREFACE[..length] {
                return Err(Fault::STRANGER);
            }
            if length < PREFACE.len() {
                return Ok(());
            }
            self.input.advance(length);
            self.begun = true;
        }
        while let Some(head) = FrameHead::read(&self.input) {
            if head.length > MAX_PAYLOAD {
                return Err(Fault::new(Reason::FRAME_SIZE_ERROR, "frame larger than allowed"));
            }
            if self.input.len() < HEAD + head.length {
                return Ok(());
            }
            self.input.advance(HEAD);
            if head.kind == Kind::Data {
                let content = head.content(&self.input[..head.length])?;
                let mut data = self.input.split_to(head.length);
                data.truncate(content.end);
                data.advance(content.start);
                core.receive_data(head, data)?;
            } else {
                core.receive_frame(head, &self.input[..head.length])?;
                self.input.advance(head.length);
            }
        }
        Ok(())
    }
}
