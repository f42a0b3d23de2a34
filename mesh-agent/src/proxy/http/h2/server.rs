//! The client's side of HTTP/2: one task per connection, one per stream.
//!
//! The streams belong to the connection's task and end with it. Draining tells the client with GOAWAY and lets its streams finish.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::proxy::http::body::{Duplex, StreamError};
use crate::proxy::http::exchange::{self, Downstream};
use crate::proxy::http::h2::stream::{Incoming, Outgoing, Receiving, Sending};
use crate::proxy::http::h2::{SEND_BUFFER, Windows, convert};
use crate::proxy::http::head::{BodySize, ResponseHead};
use crate::proxy::http::session::Session;

/// Serves a connection to its end.
pub(crate) async fn serve<T: AsyncRead + AsyncWrite + Unpin>(session: &mut Session, io: T) {
    let config = &session.chain.config;
    let windows = Windows::from(config.http2);
    let handshake = h2::server::Builder::new()
        .initial_window_size(windows.stream)
        .initial_connection_window_size(windows.connection)
        .max_concurrent_streams(windows.streams)
        .max_header_list_size(config.max_request_headers_kb * 1024)
        .max_send_buffer_size(SEND_BUFFER)
        .handshake::<_, Bytes>(io);
    let mut connection = match tokio::time::timeout(HANDSHAKE, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(%error, "no HTTP/2 connection"),
        Err(_) => return,
    };
    let idle_timeout = config.idle_timeout;
    let mut streams = JoinSet::new();
    let mut idle_since = Instant::now();
    let mut ending = false;
    loop {
        let accepted = poll_fn(|cx| {
            while let Poll::Ready(Some(_)) = streams.poll_join_next(cx) {
                idle_since = Instant::now();
            }
            if !ending && session.poll_draining(cx) {
                ending = true;
                connection.graceful_shutdown();
            }
            if let Poll::Ready(accepted) = connection.poll_accept(cx) {
                return Poll::Ready(accepted);
            }
            let deadline = idle_timeout.filter(|_| streams.is_empty() && !ending).map(|limit| idle_since + limit);
            if session.alarm.poll(cx, deadline).is_ready() {
                ending = true;
                connection.graceful_shutdown();
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
        match accepted {
            Some(Ok((request, respond))) => {
                let session = session.fork();
                streams.spawn_local(stream(session, request, respond));
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "HTTP/2 connection broken");
                if error.is_library() {
                    session.worker.telemetry.malformed_request();
                }
                return;
            }
            None => return,
        }
    }
}

/// How long a client may take to say that it speaks HTTP/2 after all.
const HANDSHAKE: std::time::Duration = std::time::Duration::from_secs(10);

/// `:method`, `:scheme`, `:authority`, `:path`.
const PSEUDO_HEADERS: usize = 4;

/// Serves one stream.
async fn stream(mut session: Session, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (parts, body) = request.into_parts();
    // Envoy counts pseudo-headers, and so do we.
    if parts.headers.len() + PSEUDO_HEADERS > session.chain.config.max_headers_count as usize {
        session.worker.telemetry.malformed_request();
        return respond.send_reset(Reason::INTERNAL_ERROR);
    }
    if convert::is_ambiguous(&parts) {
        session.worker.telemetry.malformed_request();
        return respond.send_reset(Reason::PROTOCOL_ERROR);
    }
    let worker = Rc::clone(&session.worker);
    let mut heads = worker.http.heads();
    convert::from_request(&parts, &mut heads.request);
    drop(parts);
    let incoming = Incoming::new(body);
    let mut server = ServerStream {
        size: incoming.size(&heads.request.fields),
        is_head: heads.request.method == http::Method::HEAD,
        incoming,
        outgoing: Outgoing::default(),
        respond,
    };
    if exchange::run(&mut session, &mut server, &mut heads).await.is_err() {
        // What was sent before goes out first, if the connection takes it.
        tokio::task::yield_now().await;
        server.reset(Reason::INTERNAL_ERROR);
    }
    worker.http.give_heads(heads);
}

/// One client's stream.
struct ServerStream {
    incoming: Incoming,
    outgoing: Outgoing,
    respond: SendResponse<Bytes>,
    size: BodySize,
    is_head: bool,
}

impl ServerStream {
    fn reset(&mut self, reason: Reason) {
        match &mut self.outgoing.stream {
            Some(stream) => stream.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }
}

impl Duplex for ServerStream {
    type Receive<'a> = Receiving<'a>;
    type Send<'a> = Sending<'a>;

    fn halves(&mut self) -> (Receiving<'_>, Sending<'_>) {
        (Receiving(&mut self.incoming), Sending(&mut self.outgoing))
    }
}

impl Downstream for ServerStream {
    fn request_size(&self) -> BodySize {
        self.size
    }

    fn send_continue(&mut self) -> Result<(), StreamError> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::CONTINUE;
        Ok(self.respond.send_informational(response)?)
    }

    fn start_response(&mut self, head: &mut ResponseHead, size: BodySize) -> Result<(), StreamError> {
        let over = size == BodySize::Empty || self.is_head;
        let response = convert::to_response(head)?;
        self.outgoing = Outgoing { stream: Some(self.respond.send_response(response, over)?), over };
        Ok(())
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<StreamError> {
        let reset = match &mut self.outgoing.stream {
            Some(stream) => stream.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        reset.map(|reset| reset.map_or_else(StreamError::from, StreamError::Reset))
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
