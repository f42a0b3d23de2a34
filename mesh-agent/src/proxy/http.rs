//! HTTP: one downstream connection, whatever it speaks, to whatever the upstreams speak.
//!
//! ```text
//! h1::server ┐                                                                    ┌ h1::client (pooled)
//!            ├─ exchange: receive -> route -> endpoint -> link -> relay ──────────┤
//! h2::server ┘                    └ answer of our own                             └ h2::client (shared)
//! ```
//! Heads are [`head`] and [`fields`], bodies are [`body`]: both the same for every version. Envoy is the specification of what
//! changes on the way.

mod body;
mod exchange;
mod fields;
mod h1;
mod h2;
mod head;
mod headers;
mod hpack;
mod local_reply;
mod name;
mod path;
mod session;
#[cfg(test)]
mod tests;
pub(super) mod thread;

use std::future::poll_fn;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::model::filter::Codec;
use crate::proxy::connection::Connection;
pub(crate) use crate::proxy::http::body::StreamError;
use crate::proxy::http::session::Session;
use crate::proxy::worker::Worker;
use crate::snapshot::HttpChain;
use crate::telemetry::{Protocol, Tier};
use crate::transport::Stream;

/// Serves one downstream connection to its end.
pub(super) async fn serve(worker: &Rc<Worker>, connection: Connection, chain: &Arc<HttpChain>) {
    let Connection { stream, mut read_ahead, origin, listed } = connection;
    let mut session = Session::new(worker, chain, &origin, &Rc::new(listed));
    let is_http2 = match chain.config.codec {
        Codec::Http1 => false,
        Codec::Http2 => true,
        Codec::Auto => match is_preface(&mut session, &stream, &mut read_ahead).await {
            Some(is_preface) => is_preface,
            None => return,
        },
    };
    session.listed.set_protocol(if is_http2 { Protocol::Http2 } else { Protocol::Http1 }, Tier::T3);
    let stream = Stream::Plain(stream);
    if is_http2 {
        h2::server::serve(&mut session, stream, read_ahead).await;
    } else {
        h1::server::serve(&mut session, stream, &read_ahead).await;
    }
}

/// Whether the client begins as one of HTTP/2 does: decided by the first byte that differs. `None`: there is nothing to serve.
async fn is_preface(session: &mut Session, stream: &TcpStream, seen: &mut BytesMut) -> Option<bool> {
    let deadline = session.chain.config.idle_timeout.map(|limit| Instant::now() + limit);
    poll_fn(|cx| {
        loop {
            let length = seen.len().min(h2::PREFACE_BEGIN.len());
            if seen[..length] != h2::PREFACE_BEGIN[..length] {
                return Poll::Ready(Some(false));
            }
            if length == h2::PREFACE_BEGIN.len() {
                return Poll::Ready(Some(true));
            }
            match stream.poll_read_ready(cx) {
                Poll::Ready(Ok(())) => match stream.try_read_buf(seen) {
                    Ok(1..) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Ok(0) | Err(_) => return Poll::Ready(None),
                },
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Pending => {
                    let deadline = deadline.into_iter().chain(session.leaves(cx)).min();
                    return session.alarm.poll(cx, deadline).map(|()| None);
                }
            }
        }
    })
    .await
}
