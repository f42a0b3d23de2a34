//! The client's side of HTTP/1: one request after another on one connection.
//!
//! Requests that were sent ahead (pipelined) wait in the input buffer, or in the kernel's. A connection ends when either side
//! says so, when the request could not be read to its end, when its filter chain is no longer any listener's, and when the agent
//! drains; a client that has asked for nothing yet has a moment for that.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::Instant;

use crate::drain::Watcher;
use crate::proxy::error::{Kind, ProxyError};
use crate::proxy::http::body::{Duplex, StreamError};
use crate::proxy::http::exchange::{self, Downstream};
use crate::proxy::http::h1::decode::Framing;
use crate::proxy::http::h1::encode::{self, Encoding, Sending, announce};
use crate::proxy::http::h1::parse::{self, EndSearch, HeadLimits, ParseError};
use crate::proxy::http::h1::wire::{Receiving, Wire};
use crate::proxy::http::head::{BodySize, Heads, RequestHead, ResponseHead, Version};
use crate::proxy::http::headers;
use crate::proxy::http::name::Name;
use crate::proxy::http::session::Session;
use crate::snapshot::HttpChain;
use crate::transport::Stream;

/// What a client may have sent ahead while its request is answered.
const READ_AHEAD: usize = 64 * 1024;
/// How long a client that still sends may take to notice that its connection is over: Envoy's `delayed_close_timeout`.
const LINGER: Duration = Duration::from_secs(1);

/// One client's connection.
#[derive(Debug)]
pub(crate) struct Server {
    wire: Wire,
    search: EndSearch,
    limits: HeadLimits,
    /// Version of the request that is being answered.
    version: Version,
    keep_alive: bool,
    is_head: bool,
    /// Whether it had a request.
    served: bool,
    drain: Watcher,
    chain: Arc<HttpChain>,
}

/// Serves a connection to its end.
pub(crate) async fn serve(session: &mut Session, stream: Stream, read_ahead: &[u8]) {
    let config = &session.chain.config;
    let mut server = Server {
        limits: HeadLimits {
            bytes: config.max_request_headers_kb as usize * 1024,
            headers: config.max_headers_count as usize,
        },
        wire: Wire::new(stream, read_ahead, config.http1_trailers),
        search: EndSearch::default(),
        version: Version::Http11,
        keep_alive: true,
        is_head: false,
        served: false,
        drain: session.worker.drain.clone(),
        chain: Arc::clone(&session.chain),
    };
    let mut heads = None;
    loop {
        match server.next_request(session, &mut heads).await {
            Ok(true) => {
                let heads = heads.get_or_insert_with(|| session.worker.http.heads());
                let result = exchange::run(session, &mut server, heads).await;
                session.listed.sent(server.wire.input.take_total());
                session.listed.received(server.wire.output.take_total());
                if result.is_err() {
                    return;
                }
            }
            Ok(false) => return,
            Err(error) => {
                let heads = heads.get_or_insert_with(|| session.worker.http.heads());
                server.refused(&error);
                if exchange::refuse(session, &mut server, heads, &error).await.is_err() {
                    return;
                }
            }
        }
        if !server.keep_alive {
            return server.linger().await;
        }
    }
}

impl Server {
    /// Reads the next request's head. `false`: there is none, and the connection is over.
    async fn next_request(
        &mut self,
        session: &mut Session,
        heads: &mut Option<Box<Heads>>,
    ) -> Result<bool, ProxyError> {
        self.search.reset();
        let mut waiting_since = None;
        let size = poll_fn(|cx| {
            loop {
                if !self.wire.input.is_empty() && self.search.worth_parsing(self.wire.input.bytes()) {
                    let heads = heads.get_or_insert_with(|| session.worker.http.heads());
                    if let Some(size) = parse::request(self.wire.input.bytes(), self.limits, &mut heads.request)? {
                        return Poll::Ready(Ok(Some(size)));
                    }
                }
                match self.wire.poll_read(cx) {
                    Poll::Ready(Ok(read)) if read > 0 => {}
                    Poll::Ready(_) => return Poll::Ready(Ok(None)),
                    Poll::Pending => break,
                }
            }
            let now_idle = self.wire.input.is_empty();
            let mut leaves = None;
            if now_idle {
                leaves = session.leaves(cx);
                if self.served && leaves.is_some() {
                    return Poll::Ready(Ok(None));
                }
                // Nothing to do for now: hold no memory.
                if let Some(heads) = heads.take() {
                    session.worker.http.give_heads(heads);
                }
                self.wire.rest();
            }
            let (was_idle, since) = *waiting_since.get_or_insert_with(|| (now_idle, Instant::now()));
            let since = if was_idle == now_idle { since } else { waiting_since.insert((now_idle, Instant::now())).1 };
            let config = &session.chain.config;
            let limit = match now_idle {
                true => config.idle_timeout,
                false => config.request_headers_timeout.or(config.stream_idle_timeout),
            };
            let deadline = limit.map(|limit| since + limit).into_iter().chain(leaves).min();
            match session.alarm.poll(cx, deadline) {
                Poll::Ready(()) if now_idle => Poll::Ready(Ok(None)),
                Poll::Ready(()) if config.request_headers_timeout.is_some() => {
                    Poll::Ready(Err(ProxyError::client(Kind::HeadTimeout)))
                }
                Poll::Ready(()) => Poll::Ready(Err(ProxyError::client(Kind::Idle { request_complete: false }))),
                Poll::Pending => Poll::Pending,
            }
        })
        .await?;
        let Some(size) = size else { return Ok(false) };
        self.served = true;
        self.wire.input.consume(size);
        let heads = heads.get_or_insert_with(|| session.worker.http.heads());
        self.begin(session, &mut heads.request)?;
        Ok(true)
    }

    /// Finds out what follows the head, and whether another request may.
    fn begin(&mut self, session: &Session, head: &mut RequestHead) -> Result<(), ProxyError> {
        self.version = head.version;
        self.is_head = head.method == Method::HEAD;
        let fields = &head.fields;
        self.keep_alive = match head.version {
            Version::Http10 => fields.has_token(Name::Connection, "keep-alive"),
            _ => !fields.has_token(Name::Connection, "close") && !fields.has_token(Name::ProxyConnection, "close"),
        };
        if head.version == Version::Http10 && !session.chain.config.accept_http_10 {
            self.version = Version::Http11;
            return Err(ProxyError::client(Kind::Http10));
        }
        if head.method == Method::CONNECT {
            // Nothing but a tunnel could follow, and there is none.
            self.keep_alive = false;
            if fields.contains(Name::TransferEncoding) {
                return Err(ProxyError::client(Kind::TransferEncoding));
            }
            if fields.contains(Name::ContentLength) {
                return Err(ProxyError::client(Kind::Malformed("content of CONNECT")));
            }
        }
        let framing = if parse::is_chunked(fields)? {
            if fields.contains(Name::ContentLength) || head.version == Version::Http10 {
                return Err(ParseError::Malformed("two framings").into());
            }
            Framing::Chunked
        } else {
            Framing::Length(parse::content_length(fields)?.unwrap_or(0))
        };
        self.wire.decoder.start(framing);
        headers::sanitize(&mut head.fields)
    }

    /// A request that was refused before its body's size was known: nothing after it can be read.
    fn refused(&mut self, error: &ProxyError) {
        tracing::debug!(%error, "request refused");
        self.wire.decoder.start(Framing::Length(0));
        self.keep_alive = false;
    }

    /// Closes so that the client reads what was sent last: its own bytes, if any still come, must not turn into a reset.
    async fn linger(mut self) {
        if poll_fn(|cx| self.wire.poll_shutdown(cx)).await.is_err() {
            return;
        }
        let drained = poll_fn(|cx| {
            loop {
                let unread = self.wire.input.len();
                self.wire.input.consume(unread);
                if !matches!(ready!(self.wire.poll_read(cx)), Ok(1..)) {
                    return Poll::Ready(());
                }
            }
        });
        // Whether the client closed or the time is over: the connection is dropped.
        let _ = tokio::time::timeout(LINGER, drained).await;
    }
}

impl Duplex for Server {
    type Receive<'a> = Receiving<'a>;
    type Send<'a> = Sending<'a>;

    fn halves(&mut self) -> (Receiving<'_>, Sending<'_>) {
        self.wire.halves()
    }
}

impl Downstream for Server {
    fn request_size(&self) -> BodySize {
        self.wire.decoder.size()
    }

    fn send_continue(&mut self) -> Result<(), StreamError> {
        let line: &[u8] = match self.version {
            Version::Http10 => b"HTTP/1.0 100 Continue\r\n\r\n",
            _ => b"HTTP/1.1 100 Continue\r\n\r\n",
        };
        self.wire.output.buffer().extend_from_slice(line);
        Ok(())
    }

    fn start_response(&mut self, head: &mut ResponseHead, size: BodySize) -> Result<(), StreamError> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            self.keep_alive = false;
            self.wire.encoding = Encoding::Close;
            encode::response(self.wire.output.buffer(), head, self.version, false);
            return Ok(());
        }
        // What is still to come of the request will not be waited for.
        if self.drain.draining() || self.chain.is_superseded() || !self.wire.decoder.is_done() {
            self.keep_alive = false;
        }
        let fields = &mut head.fields;
        self.wire.encoding = match size {
            _ if self.is_head => Encoding::Over,
            BodySize::Empty => Encoding::Over,
            BodySize::Known(length) => Encoding::Length(length),
            BodySize::Unknown if self.version == Version::Http10 => {
                self.keep_alive = false;
                Encoding::Close
            }
            BodySize::Unknown => Encoding::Chunked(0),
        };
        // The head of an answer to HEAD, and of a 304, tells the length of a body that is not sent.
        let only_head = self.is_head || head.status == StatusCode::NOT_MODIFIED;
        if !only_head {
            announce(fields, size, may_have_body(head.status));
        }
        if !self.keep_alive {
            fields.set(Name::Connection, b"close");
        } else if self.version == Version::Http10 {
            fields.set(Name::Connection, b"keep-alive");
        }
        let no_length = self.is_head && !fields.contains(Name::ContentLength) && may_have_body(head.status);
        let chunked =
            matches!(self.wire.encoding, Encoding::Chunked(_)) || no_length && self.version != Version::Http10;
        encode::response(self.wire.output.buffer(), head, self.version, chunked);
        Ok(())
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<StreamError> {
        while self.wire.input.len() < READ_AHEAD {
            match ready!(self.wire.poll_read(cx)) {
                Ok(0) => return Poll::Ready(StreamError::Closed),
                Ok(_) => {}
                Err(error) => return Poll::Ready(error.into()),
            }
        }
        Poll::Pending
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        self.wire.poll_flush(cx)
    }

    fn end_after_response(&mut self) {
        self.keep_alive = false;
    }

    fn may_upgrade(&self) -> bool {
        true
    }

    fn become_tunnel(&mut self) {
        self.wire.decoder.start(Framing::Close);
    }
}

fn may_have_body(status: StatusCode) -> bool {
    !(status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED)
}

impl From<ParseError> for ProxyError {
    fn from(error: ParseError) -> Self {
        Self::client(match error {
            ParseError::Malformed(what) => Kind::Malformed(what),
            ParseError::Rejected(what) => Kind::Rejected(what),
            ParseError::TooLarge | ParseError::TooManyHeaders => Kind::HeadTooLarge,
            ParseError::TransferEncoding => Kind::TransferEncoding,
            ParseError::Version => Kind::Http10,
        })
    }
}

impl From<ParseError> for StreamError {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::Malformed(what) | ParseError::Rejected(what) => Self::Malformed(what),
            ParseError::TooLarge | ParseError::TooManyHeaders => Self::HeadTooLarge,
            ParseError::TransferEncoding => Self::Malformed("transfer encoding"),
            ParseError::Version => Self::Malformed("version"),
        }
    }
}
