//! Header blocks of the peer: requests, answers, trailers. And what it means if they mean nothing.
//!
//! A malformed head of a request ends the connection, as it does with Envoy: whoever sends one tries what passes. Content of another
//! length than announced, and anything that is wrong with an endpoint's answer, ends its stream only: others share
//! the connection. What comes for a stream that is over is passed over: it was on its way when the stream ended.

use crate::proxy::http::fields::Fields;
use crate::proxy::http::h2::connection::send::is_bodiless;
use crate::proxy::http::h2::connection::stream::Stream;
use crate::proxy::http::h2::connection::{Core, Leaving, NewRequest, Role};
use crate::proxy::http::h2::frame::Kind;
use crate::proxy::http::h2::head::{HeadError, RequestReader, ResponseReader, TrailersReader};
use crate::proxy::http::h2::reason::{Failure, Fault, Reason};
use crate::proxy::http::hpack::Decoder;

impl Core {
    /// A whole header block.
    pub(super) fn receive_block(&mut self, id: u32, over: bool, block: &[u8]) -> Result<(), Fault> {
        if id > self.last {
            return self.receive_request(id, over, block);
        }
        match self.streams.get(&id) {
            Some(stream) if stream.failure.is_none() => {
                if stream.received {
                    return Err(Fault::new(Reason::STREAM_CLOSED, "HEADERS after the end"));
                }
                if stream.begun {
                    self.receive_trailers(id, over, block)
                } else {
                    self.receive_response(id, over, block)
                }
            }
            _ => self.decode(block, |_, _| {}),
        }
    }

    fn receive_request(&mut self, id: u32, over: bool, block: &[u8]) -> Result<(), Fault> {
        let Role::Server(worker) = &self.role else { return Err(Fault::protocol("stream opened by a server")) };
        self.last = id;
        self.guard.stream();
        // What comes after the last word was not going to be answered: the client knows that.
        if self.leaving == Leaving::Final {
            return self.decode(block, |_, _| {});
        }
        if self.streams.len() >= self.windows.streams as usize {
            self.decode(block, |_, _| {})?;
            return self.reset(id, Reason::REFUSED_STREAM);
        }
        let mut heads = worker.http.heads();
        let mut reader = RequestReader::new(&mut heads.request, self.limits);
        decode(&mut self.decoder, block, |name, value| reader.field(name, value))?;
        let length = match reader.end() {
            Ok(Some(1..)) if over => return Err(Fault::protocol("no content, but a length")),
            Ok(length) => length,
            Err(HeadError::Malformed(what)) => return Err(Fault::protocol(what)),
            Err(HeadError::TooLarge) => {
                worker.telemetry.malformed_request();
                worker.http.give_heads(heads);
                return self.reset(id, Reason::INTERNAL_ERROR);
            }
        };
        let mut stream = Stream::new(self.windows, &self.peer, self.now);
        stream.begun = true;
        stream.received = over;
        stream.left = length;
        self.streams.insert(id, stream);
        self.requests.push(NewRequest { stream: id, heads, length, over });
        Ok(())
    }

    fn receive_response(&mut self, id: u32, over: bool, block: &[u8]) -> Result<(), Fault> {
        let mut head = self.spare.pop().unwrap_or_default();
        let mut reader = ResponseReader::new(&mut head, self.limits);
        decode(&mut self.decoder, block, |name, value| reader.field(name, value))?;
        let length = match reader.end() {
            Ok(length) => length,
            Err(HeadError::Malformed(what)) => return self.malformed(id, what),
            Err(HeadError::TooLarge) => return self.refuse(id, Failure::HeadTooLarge),
        };
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        // Interim answers end here: the agent has already said `100 Continue` itself, as Envoy does.
        if head.status.is_informational() {
            let is_upgrade = head.status == http::StatusCode::SWITCHING_PROTOCOLS;
            self.spare.push(head);
            return if over || is_upgrade { self.malformed(id, "interim answer") } else { Ok(()) };
        }
        let bodiless = stream.is_head || is_bodiless(head.status);
        stream.begun = true;
        stream.received = over;
        stream.left = if bodiless { None } else { length };
        if over && stream.left.is_some_and(|left| left > 0) {
            return self.malformed(id, "no content, but a length");
        }
        stream.response = Some((head, length));
        stream.wake();
        Ok(())
    }

    fn receive_trailers(&mut self, id: u32, over: bool, block: &[u8]) -> Result<(), Fault> {
        let mut trailers = Fields::default();
        let mut reader = TrailersReader::new(&mut trailers, self.limits);
        decode(&mut self.decoder, block, |name, value| reader.field(name, value))?;
        match reader.end() {
            Ok(()) if !over => return self.malformed(id, "trailers that do not end the stream"),
            Ok(()) => {}
            Err(HeadError::Malformed(what)) => return self.malformed(id, what),
            Err(HeadError::TooLarge) => return self.refuse(id, Failure::HeadTooLarge),
        }
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if stream.left.is_some_and(|left| left > 0) {
            return self.refuse(id, Failure::Malformed("content other than announced"));
        }
        stream.trailers = Some(trailers);
        stream.received = true;
        stream.wake();
        Ok(())
    }

    /// What a stream's peer sent has no meaning.
    pub(super) fn malformed(&mut self, id: u32, what: &'static str) -> Result<(), Fault> {
        if self.is_server() { Err(Fault::protocol(what)) } else { self.refuse(id, Failure::Malformed(what)) }
    }

    /// Ends a stream for what came on it.
    pub(super) fn refuse(&mut self, id: u32, failure: Failure) -> Result<(), Fault> {
        let is_malformed = matches!(failure, Failure::Malformed(_));
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.fail(failure);
        }
        self.reset(id, if is_malformed { Reason::PROTOCOL_ERROR } else { Reason::INTERNAL_ERROR })
    }

    fn reset(&mut self, id: u32, reason: Reason) -> Result<(), Fault> {
        self.output.control(Kind::Reset, 0, id, &reason.0.to_be_bytes())
    }

    /// Decodes a block for the sake of the table.
    fn decode(&mut self, block: &[u8], each: impl FnMut(&[u8], &[u8])) -> Result<(), Fault> {
        decode(&mut self.decoder, block, each)
    }
}

fn decode(decoder: &mut Decoder, block: &[u8], each: impl FnMut(&[u8], &[u8])) -> Result<(), Fault> {
    decoder.decode(block, each).map_err(|error| {
        tracing::debug!(%error, "header block");
        Fault::new(Reason::COMPRESSION_ERROR, "header block")
    })
}
