//! The client's side of HTTP/2: one task per connection, one per stream.
//!
//! The streams belong to the connection's task and end with it. Draining tells the client with GOAWAY and lets its streams finish.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::proxy::http::body::{Duplex, StreamError};
use crate::proxy::http::exchange::{self, Downstream};
use crate::proxy::http::h2::Windows;
use crate::proxy::http::h2::connection::{Connection, Io, NewRequest, Over, Role};
use crate::proxy::http::h2::head::Limits;
use crate::proxy::http::h2::stream::{Receiving, Sending, Stream};
use crate::proxy::http::head::{BodySize, ResponseHead};
use crate::proxy::http::session::Session;
use crate::transport::Stream as Socket;

/// How long a client may take to say that it speaks HTTP/2 after all.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client without streams may take to notice that it was told to go.
const LEAVE: Duration = Duration::from_secs(1);
/// How long a client that still sends may take to notice that its connection is over: Envoy's `delayed_close_timeout`.
const LINGER: Duration = Duration::from_secs(1);

/// Serves a connection to its end.
pub(crate) async fn serve(session: &mut Session, stream: Socket, read_ahead: BytesMut) {
    let config = &session.chain.config;
    let limits =
        Limits { bytes: config.max_request_headers_kb as usize * 1024, fields: config.max_headers_count as usize };
    let role = Role::Server(Rc::clone(&session.worker));
    let connection = Rc::new(Connection::new(role, Windows::from(config.http2), limits));
    let mut io = Io::new(Rc::clone(&connection), stream, read_ahead);
    let idle_timeout = config.idle_timeout;
    let mut streams = JoinSet::new();
    // When the connection began, when its last stream ended, or when it was told to go.
    let mut idle_since = Instant::now();
    let mut leaving = false;
    poll_fn(|cx| {
        let mut last_ended = false;
        while let Poll::Ready(Some(_)) = streams.poll_join_next(cx) {
            last_ended = streams.is_empty();
        }
        if last_ended {
            idle_since = Instant::now();
        }
        if !leaving && (session.chain.is_superseded() || session.poll_draining(cx)) {
            leaving = true;
            idle_since = Instant::now();
            connection.core().leave();
        }
        let over = io.poll(cx);
        let (read, written) = io.take_totals();
        session.listed.sent(read);
        session.listed.received(written);
        if over.is_ready() {
            return Poll::Ready(());
        }
        let (requests, settled, ending) = {
            let mut core = connection.core();
            (core.take_requests(), core.is_settled(), core.over().is_some())
        };
        if ending && !leaving {
            (leaving, idle_since) = (true, Instant::now());
        }
        for request in requests {
            streams.spawn_local(serve_stream(session.fork(), Rc::clone(&connection), request));
        }
        let limit = match (settled, leaving) {
            // Even its last words find no room.
            _ if ending => Some(LEAVE),
            _ if !streams.is_empty() => None,
            (false, _) => Some(HANDSHAKE),
            (_, true) => Some(LEAVE),
            _ => idle_timeout,
        };
        if session.alarm.poll(cx, limit.map(|limit| idle_since + limit)).is_ready() {
            if leaving || !settled {
                return Poll::Ready(());
            }
            leaving = true;
            idle_since = Instant::now();
            connection.core().leave();
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
    drop(streams);
    let ended = connection.core().over();
    if let Some(Over::Fault(fault)) = ended {
        tracing::debug!(%fault, "HTTP/2 connection refused");
        session.worker.telemetry.malformed_request();
        // Whether the client closed or the time is over: the connection is dropped.
        let _ = tokio::time::timeout(LINGER, io.linger()).await;
    }
}

/// Serves one stream.
async fn serve_stream(mut session: Session, connection: Rc<Connection>, request: NewRequest) {
    let worker = Rc::clone(&session.worker);
    let NewRequest { stream, mut heads, length, over } = request;
    let mut server = ServerStream {
        stream: Stream::new(connection, stream),
        size: match length {
            _ if over => BodySize::Empty,
            Some(length) => BodySize::Known(length),
            None => BodySize::Unknown,
        },
        is_head: heads.request.method == http::Method::HEAD,
    };
    // What is not over when the stream is let go of is reset.
    let _ = exchange::run(&mut session, &mut server, &mut heads).await;
    worker.http.give_heads(heads);
}

/// One client's stream.
struct ServerStream {
    stream: Stream,
    size: BodySize,
    is_head: bool,
}

impl Duplex for ServerStream {
    type Receive<'a> = Receiving<'a>;
    type Send<'a> = Sending<'a>;

    fn halves(&mut self) -> (Receiving<'_>, Sending<'_>) {
        self.stream.halves()
    }
}

impl Downstream for ServerStream {
    fn request_size(&self) -> BodySize {
        self.size
    }

    fn send_continue(&mut self) -> Result<(), StreamError> {
        self.stream.connection.core().respond_continue(self.stream.id)
    }

    fn start_response(&mut self, head: &mut ResponseHead, size: BodySize) -> Result<(), StreamError> {
        let over = size == BodySize::Empty || self.is_head;
        self.stream.sent = over;
        self.stream.connection.core().respond(self.stream.id, head, over)
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<StreamError> {
        self.stream.connection.core().poll_failure(cx, self.stream.id)
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        Poll::Ready(Ok(()))
    }

    /// Other streams go on.
    fn end_after_response(&mut self) {}

    fn may_upgrade(&self) -> bool {
        false
    }

    fn become_tunnel(&mut self) {}
}
