//! The endpoint's side of HTTP/1: one connection, one request at a time.
//!
//! A connection that waits for its next request is a plain value in the pool: no task, no timer, no buffer.

use std::task::{Context, Poll, Waker};

use http::{Method, StatusCode};

use crate::proxy::http::body::{Duplex, StreamError};
use crate::proxy::http::exchange::Upstream;
use crate::proxy::http::h1::decode::Framing;
use crate::proxy::http::h1::encode::{self, Encoding, Sending, announce};
use crate::proxy::http::h1::parse::{self, EndSearch, HeadLimits};
use crate::proxy::http::h1::wire::{Receiving, Wire};
use crate::proxy::http::head::{BodySize, RequestHead, ResponseHead, Version};
use crate::proxy::http::name::Name;
use crate::transport::Stream;

/// What an endpoint's head may measure: Envoy's defaults.
const LIMITS: HeadLimits = HeadLimits { bytes: 80 * 1024, headers: 100 };

/// A connection to an endpoint.
#[derive(Debug)]
pub(crate) struct Client {
    wire: Wire,
    search: EndSearch,
    keep_alive: bool,
    is_head: bool,
    upgrade: bool,
}

impl Client {
    pub(crate) fn new(stream: Stream, trailers: bool) -> Self {
        Self {
            wire: Wire::new(stream, &[], trailers),
            search: EndSearch::default(),
            keep_alive: true,
            is_head: false,
            upgrade: false,
        }
    }

    /// Whether an idle connection is still open, as far as the reactor has heard. Asks the kernel only if there is doubt.
    pub(crate) fn is_alive(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        match self.wire.stream.poll_read_ready(&mut cx) {
            Poll::Pending => true,
            Poll::Ready(_) => {
                let mut byte = [0];
                matches!(self.wire.stream.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
            }
        }
    }

    /// The connection, if it can carry another request.
    pub(crate) fn into_idle(mut self) -> Option<Self> {
        let wire = &mut self.wire;
        let over = wire.decoder.is_done() && wire.encoding == Encoding::Over && wire.output.is_empty();
        // Bytes that no request asked for: whatever they are, they are not the next answer.
        let clean = wire.input.is_empty() && !wire.decoder.ends_with_connection();
        wire.rest();
        (self.keep_alive && over && clean).then_some(self)
    }

    fn begin(&mut self, head: &ResponseHead) -> Result<(), StreamError> {
        let fields = &head.fields;
        self.keep_alive = match head.version {
            Version::Http10 => fields.has_token(Name::Connection, "keep-alive"),
            _ => !fields.has_token(Name::Connection, "close"),
        };
        let bodiless = self.is_head
            || head.status.is_informational()
            || head.status == StatusCode::NO_CONTENT
            || head.status == StatusCode::NOT_MODIFIED;
        let chunked = parse::is_chunked(fields)?;
        let length = parse::content_length(fields)?;
        let framing = match (chunked, length) {
            (true, Some(_)) => return Err(StreamError::Malformed("two framings")),
            (true, _) | (_, Some(1..)) if head.status == StatusCode::NO_CONTENT => {
                return Err(StreamError::Malformed("content of 204"));
            }
            _ if head.status == StatusCode::SWITCHING_PROTOCOLS => Framing::Close,
            _ if bodiless => Framing::Length(0),
            (true, None) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::Close,
        };
        self.wire.decoder.start(framing);
        Ok(())
    }
}

impl Duplex for Client {
    type Receive<'a> = Receiving<'a>;
    type Send<'a> = Sending<'a>;

    fn halves(&mut self) -> (Receiving<'_>, Sending<'_>) {
        self.wire.halves()
    }
}

impl Upstream for Client {
    fn start_request(&mut self, head: &mut RequestHead, size: BodySize, upgrade: bool) -> Result<(), StreamError> {
        self.search.reset();
        self.is_head = head.method == Method::HEAD;
        self.upgrade = upgrade;
        self.wire.encoding = match size {
            // What follows belongs to the protocol that is asked for.
            _ if upgrade => Encoding::Close,
            BodySize::Empty => Encoding::Over,
            BodySize::Known(length) => Encoding::Length(length),
            BodySize::Unknown => Encoding::Chunked(0),
        };
        announce(
            &mut head.fields,
            size,
            !matches!(head.method, Method::GET | Method::HEAD | Method::DELETE | Method::TRACE),
        );
        let chunked = matches!(self.wire.encoding, Encoding::Chunked(_));
        encode::request(self.wire.output.buffer(), head, chunked);
        Ok(())
    }

    fn poll_response(&mut self, cx: &mut Context<'_>, head: &mut ResponseHead) -> Poll<Result<(), StreamError>> {
        loop {
            if !self.wire.input.is_empty() && self.search.worth_parsing(self.wire.input.bytes()) {
                let parsed = parse::response(self.wire.input.bytes(), LIMITS, head)?;
                if let Some(size) = parsed {
                    self.wire.input.consume(size);
                    self.search.reset();
                    let switched = head.status == StatusCode::SWITCHING_PROTOCOLS;
                    if switched && !self.upgrade {
                        return Poll::Ready(Err(StreamError::Malformed("unasked 101")));
                    }
                    // Interim answers end here: the agent has already said `100 Continue` itself, as Envoy does.
                    if head.status.is_informational() && !switched {
                        continue;
                    }
                    self.begin(head)?;
                    return Poll::Ready(Ok(()));
                }
            }
            if std::task::ready!(self.wire.poll_read(cx))? == 0 {
                let half = !self.wire.input.is_empty();
                return Poll::Ready(Err(if half {
                    StreamError::Malformed("half a head")
                } else {
                    StreamError::Closed
                }));
            }
        }
    }

    fn response_size(&self) -> BodySize {
        self.wire.decoder.size()
    }
}
