//! Writes heads and bodies of HTTP/1 messages.
//!
//! Small pieces are gathered behind the head, so that a small message is one write; large ones are written from where they lie.

use std::io::Write;
use std::task::{Context, Poll, ready};

use http::StatusCode;

use crate::proxy::http::body::{Sink, Source, StreamError};
use crate::proxy::http::fields::Fields;
use crate::proxy::http::h1::buffer::{DIRECT_WRITE, OUTPUT_LIMIT, Output};
use crate::proxy::http::head::{BodySize, RequestHead, ResponseHead, Version};
use crate::proxy::http::headers::decimal;
use crate::proxy::http::name::Name;
use crate::transport::WriteHalf;

/// How a body's end is told to the peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encoding {
    /// There is none, or it is over.
    #[default]
    Over,
    /// So many bytes are still to come.
    Length(u64),
    /// By the last chunk. So many bytes of the chunk that was announced are still to come.
    Chunked(u64),
    /// By closing.
    Close,
}

/// The sending half of a connection.
#[derive(Debug)]
pub(crate) struct Sending<'a> {
    pub(super) stream: WriteHalf<'a>,
    pub(super) output: &'a mut Output,
    pub(super) encoding: &'a mut Encoding,
    pub(super) trailers: bool,
}

impl Sink for Sending<'_> {
    fn poll_send<S: Source>(&mut self, cx: &mut Context<'_>, source: &mut S) -> Poll<Result<(), StreamError>> {
        if self.output.len() >= OUTPUT_LIMIT {
            ready!(self.output.poll_flush(cx, &mut self.stream))?;
        }
        let chunk = source.chunk();
        debug_assert!(!chunk.is_empty());
        let room = match *self.encoding {
            Encoding::Over => return Poll::Ready(Err(StreamError::Malformed("body longer than announced"))),
            Encoding::Length(left) if chunk.len() as u64 > left => {
                return Poll::Ready(Err(StreamError::Malformed("body longer than announced")));
            }
            Encoding::Length(_) | Encoding::Close => chunk.len(),
            Encoding::Chunked(0) => {
                write!(self.output.buffer(), "{:x}\r\n", chunk.len())?;
                *self.encoding = Encoding::Chunked(chunk.len() as u64);
                chunk.len()
            }
            Encoding::Chunked(left) => usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len())),
        };
        let gather = match self.encoding {
            // The chunk's end has to follow, so writing the chunk on its own pays off later.
            Encoding::Chunked(_) => 4 * DIRECT_WRITE,
            _ => DIRECT_WRITE,
        };
        let taken = if room <= gather {
            self.output.buffer().extend_from_slice(&chunk[..room]);
            room
        } else {
            ready!(self.output.poll_write_with(cx, &mut self.stream, &chunk[..room]))?
        };
        source.consume(taken);
        match self.encoding {
            Encoding::Length(left) => *left -= taken as u64,
            Encoding::Chunked(left) => {
                *left -= taken as u64;
                if *left == 0 {
                    self.output.buffer().extend_from_slice(b"\r\n");
                }
            }
            Encoding::Over | Encoding::Close => {}
        }
        Poll::Ready(Ok(()))
    }

    fn finish(&mut self, trailers: Option<&Fields>) -> Result<(), StreamError> {
        match std::mem::take(self.encoding) {
            Encoding::Over | Encoding::Close | Encoding::Length(0) => Ok(()),
            Encoding::Length(_) => Err(StreamError::Malformed("body shorter than announced")),
            Encoding::Chunked(_) => {
                let buffer = self.output.buffer();
                buffer.extend_from_slice(b"0\r\n");
                if let Some(trailers) = trailers.filter(|_| self.trailers) {
                    fields(buffer, trailers);
                }
                buffer.extend_from_slice(b"\r\n");
                Ok(())
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        self.output.poll_flush(cx, &mut self.stream)
    }
}

/// Makes `content-length` say what `size` does, whatever it said: the two must never differ. `zero`: that there is no body is
/// to be said, too.
pub(super) fn announce(fields: &mut Fields, size: BodySize, zero: bool) {
    let mut digits = [0; 20];
    match size {
        BodySize::Known(length) if !fields.contains(Name::ContentLength) => {
            fields.append(Name::ContentLength, decimal(length, &mut digits));
        }
        BodySize::Known(_) => {}
        BodySize::Unknown => fields.remove(Name::ContentLength),
        BodySize::Empty if zero => fields.set(Name::ContentLength, b"0"),
        BodySize::Empty if fields.get(Name::ContentLength).is_some_and(|length| length != b"0") => {
            fields.remove(Name::ContentLength);
        }
        BodySize::Empty => {}
    }
}

/// Writes a request's head.
pub(super) fn request(buffer: &mut Vec<u8>, head: &RequestHead, chunked: bool) {
    buffer.extend_from_slice(head.method.as_str().as_bytes());
    buffer.push(b' ');
    buffer.extend_from_slice(head.path().as_bytes());
    buffer.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    buffer.extend_from_slice(head.authority().as_bytes());
    buffer.extend_from_slice(b"\r\n");
    fields(buffer, &head.fields);
    end(buffer, chunked);
}

/// Writes a response's head, for a client that spoke `version`.
pub(super) fn response(buffer: &mut Vec<u8>, head: &ResponseHead, version: Version, chunked: bool) {
    buffer.extend_from_slice(if version == Version::Http10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    buffer.extend_from_slice(head.status.as_str().as_bytes());
    buffer.push(b' ');
    buffer.extend_from_slice(reason(head.status).as_bytes());
    buffer.extend_from_slice(b"\r\n");
    fields(buffer, &head.fields);
    end(buffer, chunked);
}

/// The status in words, as Envoy knows them.
fn reason(status: StatusCode) -> &'static str {
    match status {
        StatusCode::IM_A_TEAPOT => "Unknown",
        status if status.as_u16() == 599 => "Last Unassigned Server Error Code",
        status => status.canonical_reason().unwrap_or("Unknown"),
    }
}

fn end(buffer: &mut Vec<u8>, chunked: bool) {
    if chunked {
        buffer.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    buffer.extend_from_slice(b"\r\n");
}

fn fields(buffer: &mut Vec<u8>, fields: &Fields) {
    for (name, value) in fields.iter() {
        buffer.reserve(name.len() + value.len() + 4);
        buffer.extend_from_slice(name);
        buffer.extend_from_slice(b": ");
        buffer.extend_from_slice(value);
        buffer.extend_from_slice(b"\r\n");
    }
}
