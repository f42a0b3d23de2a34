//! From a target to a connection that carries the request: one from the pool, or a new one.

use std::future::poll_fn;
use std::task::Poll;

use tokio::net::TcpStream;

use crate::proxy::error::{Kind, ProxyError};
use crate::proxy::http::exchange::relay::relay;
use crate::proxy::http::exchange::{Downstream, Progress};
use crate::proxy::http::h1::client::Client;
use crate::proxy::http::head::{BodySize, Heads};
use crate::proxy::http::session::Session;
use crate::snapshot::LiveCluster;
use crate::transport::Target;

/// Sends the request to `target` and its answer back.
pub(super) async fn carry<D: Downstream>(
    session: &mut Session,
    client: &mut D,
    heads: &mut Heads,
    progress: &mut Progress,
    cluster: &LiveCluster,
    target: &Target,
    upgrade: bool,
) -> Result<(), ProxyError> {
    let key = target.key();
    let mut upstream = match session.worker.http.take_idle(&key) {
        Some(idle) => idle,
        None => Client::new(connect(session, client, progress, cluster, target).await?, false),
    };
    relay(session, client, &mut upstream, heads, progress, upgrade).await?;
    if let Some(idle) = upstream.into_idle() {
        session.worker.http.give_idle(&session.worker, key, idle);
    }
    Ok(())
}

/// A new connection, unless the client leaves or a deadline passes first.
async fn connect<D: Downstream>(
    session: &mut Session,
    client: &mut D,
    progress: &mut Progress,
    cluster: &LiveCluster,
    target: &Target,
) -> Result<TcpStream, ProxyError> {
    let worker = std::rc::Rc::clone(&session.worker);
    // Boxed: it is large, and not on the way of a request that finds an idle connection.
    let mut connecting = Box::pin(worker.connect(target, cluster.config.connect_timeout));
    let no_body = client.request_size() == BodySize::Empty;
    poll_fn(|cx| {
        if let Poll::Ready(result) = connecting.as_mut().poll(cx) {
            return Poll::Ready(result.map_err(|error| ProxyError::upstream(Kind::Connect(error))));
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
