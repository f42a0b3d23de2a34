//! What streams do with their connection: take what came, and send.
//!
//! A body goes out in pieces, each within both windows and the output's room. Where many streams want the room there is, they take
//! turns, a piece each, in the order in which they asked.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;

use crate::proxy::http::body::StreamError;
use crate::proxy::http::fields::Fields;
use crate::proxy::http::h2::connection::Core;
use crate::proxy::http::h2::connection::stream::Stream;
use crate::proxy::http::h2::frame::{END_STREAM, Kind, MAX_PAYLOAD};
use crate::proxy::http::h2::head::{write_request, write_response, write_trailers};
use crate::proxy::http::h2::reason::{Failure, Reason};
use crate::proxy::http::head::{RequestHead, ResponseHead};

impl Core {
    /// Opens a stream with a request's head.
    pub(in super::super) fn open(&mut self, head: &RequestHead, over: bool) -> Result<u32, StreamError> {
        if !self.takes_requests() {
            return Err(StreamError::Closed);
        }
        let id = if self.last == 0 { 1 } else { self.last + 2 };
        self.last = id;
        self.guard.stream();
        let mut stream = Stream::new(self.windows, &self.peer, self.now);
        stream.answered = true;
        stream.sent = over;
        stream.is_head = head.method == http::Method::HEAD;
        self.streams.insert(id, stream);
        let encoder = &mut self.encoder;
        self.output.headers(id, over, |to| write_request(encoder, to, head));
        self.wake();
        Ok(id)
    }

    /// Sends an answer's head.
    pub(in super::super) fn respond(&mut self, id: u32, head: &ResponseHead, over: bool) -> Result<(), StreamError> {
        let stream = sending(self.streams.get_mut(&id))?;
        stream.answered = true;
        stream.sent = over;
        let encoder = &mut self.encoder;
        self.output.headers(id, over, |to| write_response(encoder, to, head));
        self.wake();
        Ok(())
    }

    /// Answers `100 Continue`; the answer itself is still to come.
    pub(in super::super) fn respond_continue(&mut self, id: u32) -> Result<(), StreamError> {
        sending(self.streams.get_mut(&id))?;
        let head = ResponseHead { status: StatusCode::CONTINUE, ..ResponseHead::default() };
        let encoder = &mut self.encoder;
        self.output.headers(id, false, |to| write_response(encoder, to, &head));
        self.wake();
        Ok(())
    }

    /// Sends a piece of a body, as much of it as there is room for.
    pub(in super::super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        id: u32,
        bytes: &[u8],
    ) -> Poll<Result<usize, StreamError>> {
        let is_its_turn = self.turn == Some(id);
        if is_its_turn {
            self.turn = None;
        }
        let room = self.send.room();
        let stream = sending(self.streams.get_mut(&id))?;
        if stream.send.room() == 0 {
            stream.watch(cx);
            self.next_turn();
            return Poll::Pending;
        }
        let others_first = !is_its_turn && (self.turn.is_some() || !self.waiting.is_empty());
        if room == 0 || !self.output.has_room() || others_first {
            stream.watch(cx);
            if !std::mem::replace(&mut stream.waits, true) {
                self.waiting.push_back(id);
            }
            self.next_turn();
            return Poll::Pending;
        }
        let count = bytes.len().min(room).min(stream.send.room()).min(MAX_PAYLOAD);
        stream.send.take(count);
        self.send.take(count);
        stream.last_piece = Some(self.output.body(id, &bytes[..count]));
        self.guard.data_sent();
        self.next_turn();
        self.wake();
        Poll::Ready(Ok(count))
    }

    /// Ends our side of a stream.
    pub(in super::super) fn finish(&mut self, id: u32, trailers: Option<&Fields>) -> Result<(), StreamError> {
        let stream = sending(self.streams.get_mut(&id))?;
        stream.sent = true;
        match trailers {
            Some(trailers) => {
                let encoder = &mut self.encoder;
                self.output.headers(id, true, |to| write_trailers(encoder, to, trailers));
            }
            None if stream.last_piece.is_some_and(|flags| self.output.end_at(flags)) => {}
            None => self.output.frame(Kind::Data, END_STREAM, id, &[]),
        }
        self.wake();
        Ok(())
    }

    /// The next piece of what the peer sends; `None`: there is no more.
    pub(in super::super) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
        id: u32,
    ) -> Poll<Result<Option<Bytes>, StreamError>> {
        let Some(stream) = self.streams.get_mut(&id) else { return Poll::Ready(Err(StreamError::Closed)) };
        if let Some(data) = stream.pop() {
            return Poll::Ready(Ok(Some(data)));
        }
        match stream.failure {
            // An answer that is whole counts, whatever became of the stream after it.
            Some(failure) if !stream.received => Poll::Ready(Err(failure.into())),
            _ if stream.received => Poll::Ready(Ok(None)),
            _ => {
                stream.watch(cx);
                Poll::Pending
            }
        }
    }

    /// What followed the body.
    pub(in super::super) fn take_trailers(&mut self, id: u32) -> Option<Fields> {
        self.streams.get_mut(&id)?.trailers.take()
    }

    /// The answer's head, exchanged for memory that is not used any more. Tells the length it announces, and whether that is all.
    pub(in super::super) fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        id: u32,
        head: &mut ResponseHead,
    ) -> Poll<Result<(Option<u64>, bool), StreamError>> {
        let Some(stream) = self.streams.get_mut(&id) else { return Poll::Ready(Err(StreamError::Closed)) };
        if let Some((mut response, length)) = stream.response.take() {
            std::mem::swap(head, &mut response);
            if self.spare.len() < SPARE && response.fields.capacity() <= LARGE_HEAD {
                self.spare.push(response);
            }
            // With these, the end may come in a frame of its own.
            let bodiless = stream.is_head || is_bodiless(head.status);
            let over = bodiless || (stream.received && stream.unread() == 0 && stream.trailers.is_none());
            return Poll::Ready(Ok((length, over)));
        }
        match stream.failure {
            Some(failure) => Poll::Ready(Err(failure.into())),
            None => {
                stream.watch(cx);
                Poll::Pending
            }
        }
    }

    /// Ready when the peer wants no more of a stream.
    pub(in super::super) fn poll_failure(&mut self, cx: &mut Context<'_>, id: u32) -> Poll<StreamError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Poll::Ready(StreamError::Closed) };
        match stream.failure {
            Some(failure) => Poll::Ready(failure.into()),
            None => {
                stream.watch(cx);
                Poll::Pending
            }
        }
    }

    /// So many bytes of a stream's body were taken by the other side: the peer may send as many more.
    pub(in super::super) fn give(&mut self, id: u32, count: usize) {
        self.give_connection(count);
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.received
            && stream.failure.is_none()
            && let Some(more) = stream.receive.give(count)
        {
            self.output.frame(Kind::WindowUpdate, 0, id, &more.to_be_bytes());
            self.wake();
        }
    }

    pub(super) fn give_connection(&mut self, count: usize) {
        if self.over.is_none()
            && let Some(more) = self.receive.give(count)
        {
            self.output.frame(Kind::WindowUpdate, 0, 0, &more.to_be_bytes());
            self.wake();
        }
    }

    /// Nobody holds the stream any more. What is not over on it is broken off; `unread` bytes were taken out and not used.
    pub(in super::super) fn release(&mut self, id: u32, unread: usize) {
        let Some(stream) = self.streams.remove(&id) else { return };
        let unread = unread + stream.unread();
        self.give_connection(unread);
        if stream.waits {
            self.waiting.retain(|other| *other != id);
        }
        if self.turn == Some(id) {
            self.turn = None;
        }
        self.next_turn();
        let is_server = self.is_server();
        let reason = match stream.failure {
            Some(_) => None,
            None if stream.sent && stream.received => None,
            // All was answered: what is still to come of the request is not asked for (RFC 9113, 8.1).
            None if stream.sent && is_server => Some(Reason::NO_ERROR),
            None => Some(Reason::INTERNAL_ERROR),
        };
        if let (Some(reason), None) = (reason, self.over) {
            self.output.frame(Kind::Reset, 0, id, &reason.0.to_be_bytes());
        }
        if is_server && !matches!(stream.failure, Some(Failure::Reset(_))) {
            // Never too much: it was not reset.
            let _ = self.guard.closed(false);
        }
        // There may be something to write, or the last stream may have gone.
        if reason.is_some() || self.streams.is_empty() {
            self.wake();
        }
    }

    /// Lets the next of those that wait for room send a piece.
    pub(super) fn next_turn(&mut self) {
        while self.turn.is_none() && self.send.room() > 0 && self.output.has_room() {
            let Some(id) = self.waiting.pop_front() else { return };
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.waits = false;
                self.turn = Some(id);
                stream.wake();
            }
        }
    }
}

/// The stream, if more can be sent on it.
fn sending(stream: Option<&mut Stream>) -> Result<&mut Stream, StreamError> {
    match stream {
        None => Err(StreamError::Closed),
        Some(Stream { failure: Some(failure), .. }) => Err((*failure).into()),
        Some(Stream { sent: true, .. }) => Err(StreamError::Malformed("body longer than announced")),
        Some(stream) => Ok(stream),
    }
}

/// Whether an answer of this status never has content.
pub(super) fn is_bodiless(status: StatusCode) -> bool {
    status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// Response heads whose memory is kept.
const SPARE: usize = 16;
/// Text of a head from which on its memory is not kept.
const LARGE_HEAD: usize = 4096;
