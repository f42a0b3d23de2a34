//! From a target to a connection that carries the request: one from the pool, or a new one.

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use tokio::time::Instant;

use crate::identity::Alpn;
use crate::model::cluster::{Http2Options, UpstreamProtocol};
use crate::proxy::error::{Kind, ProxyError};
use crate::proxy::http::exchange::relay::relay;
use crate::proxy::http::exchange::{Downstream, Progress};
use crate::proxy::http::h1;
use crate::proxy::http::h2::client::ClientStream;
use crate::proxy::http::head::{BodySize, Heads, Version};
use crate::proxy::http::session::Session;
use crate::snapshot::LiveCluster;
use crate::transport::{ConnectError, Stream, Target};

/// Where a request goes, and how.
pub(super) struct Destination<'a> {
    pub(super) cluster: &'a LiveCluster,
    pub(super) target: Target,
    /// The client asks to leave HTTP.
    pub(super) upgrade: bool,
}

/// Sends the request to its destination and the answer back.
pub(super) async fn carry<D: Downstream>(
    session: &mut Session,
    client: &mut D,
    heads: &mut Heads,
    progress: &mut Progress,
    mut to: Destination<'_>,
) -> Result<(), ProxyError> {
    let http2 = match to.cluster.config.protocol {
        UpstreamProtocol::Http1 => None,
        UpstreamProtocol::Http2(options) => Some(options),
        UpstreamProtocol::Downstream(options) => (heads.request.version == Version::Http2).then_some(options),
    };
    let alpn = if http2.is_some() { Alpn::Http2 } else { Alpn::Http1 };
    to.target = to.target.secured(to.cluster.tls.as_ref(), alpn);
    let to = &to;
    if let Some(options) = http2 {
        // Boxed: large, and what HTTP/2 costs anyway hides the price.
        return Box::pin(carry_http2(session, client, heads, progress, to, options)).await;
    }
    let key = to.target.key();
    let mut upstream = match session.worker.http.take_idle(&key) {
        Some(idle) => idle,
        None => {
            let stream = connect(session, client, progress, to).await?;
            h1::client::Client::new(stream, session.chain.config.http1_trailers)
        }
    };
    relay(session, client, &mut upstream, heads, progress, to.upgrade).await?;
    if let Some(idle) = upstream.into_idle() {
        session.worker.http.give_idle(&session.worker, key, to.cluster.slot, idle);
    }
    Ok(())
}

async fn carry_http2<D: Downstream>(
    session: &mut Session,
    client: &mut D,
    heads: &mut Heads,
    progress: &mut Progress,
    to: &Destination<'_>,
    options: Http2Options,
) -> Result<(), ProxyError> {
    let mut upstream = shared(session, client, progress, to, options).await?;
    relay(session, client, &mut upstream, heads, progress, to.upgrade).await
}

/// A stream's place on a connection that is open, or on a new one.
async fn shared<D: Downstream>(
    session: &mut Session,
    client: &mut D,
    progress: &mut Progress,
    to: &Destination<'_>,
    options: Http2Options,
) -> Result<ClientStream, ProxyError> {
    let group = session.worker.http.shared(&session.worker, to.target.key(), to.cluster.slot);
    if let Some(stream) = group.take() {
        return Ok(stream);
    }
    let waiting_since = Instant::now();
    let _opening = unless_over(session, client, progress, Box::pin(group.opening.lock())).await?;
    // While we waited, another request may have opened one, or have found that it can't be done.
    if let Some(stream) = group.take() {
        return Ok(stream);
    }
    if group.failed.get().is_some_and(|failed| failed > waiting_since) {
        let refused = ConnectError::Refused { address: to.target.address, source: ErrorKind::NotConnected.into() };
        return Err(ProxyError::upstream(Kind::Connect(refused)));
    }
    let stream = connect(session, client, progress, to).await.inspect_err(|error| {
        if matches!(error.kind, Kind::Connect(_)) {
            group.failed.set(Some(Instant::now()));
        }
    })?;
    Ok(group.open(stream, options))
}

/// A new connection.
async fn connect<D: Downstream>(
    session: &mut Session,
    client: &mut D,
    progress: &mut Progress,
    to: &Destination<'_>,
) -> Result<Stream, ProxyError> {
    let worker = Rc::clone(&session.worker);
    // Boxed: it is large, and not on the way of a request that finds an idle connection.
    let connecting = Box::pin(worker.connect(&to.target, to.cluster.config.connect_timeout));
    let connected = unless_over(session, client, progress, connecting).await?;
    connected.map_err(|error| ProxyError::upstream(Kind::Connect(error)))
}

/// What `waiting` comes to, unless the client leaves or a deadline passes first.
async fn unless_over<D: Downstream, T>(
    session: &mut Session,
    client: &mut D,
    progress: &mut Progress,
    mut waiting: Pin<Box<impl Future<Output = T>>>,
) -> Result<T, ProxyError> {
    let no_body = client.request_size() == BodySize::Empty;
    poll_fn(|cx| {
        if let Poll::Ready(result) = waiting.as_mut().poll(cx) {
            return Poll::Ready(Ok(result));
        }
        if client.poll_flush(cx).map_err(|error| ProxyError::client(Kind::Gone(error)))?.is_ready()
            && no_body
            && let Poll::Ready(error) = client.poll_gone(cx)
        {
            return Poll::Ready(Err(ProxyError::client(Kind::Gone(error))));
        }
        progress.clock.poll(cx, &mut session.alarm, 0, no_body).map(Err)
    })
    .await
}
