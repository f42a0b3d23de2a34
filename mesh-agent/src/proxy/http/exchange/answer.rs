//! Sends answers of the agent's own.

use std::future::poll_fn;
use std::task::Poll;

use http::StatusCode;

use crate::model::route::DirectResponse;
use crate::proxy::error::{Kind, ProxyError};
use crate::proxy::http::body::{Pump, Sink, StreamError};
use crate::proxy::http::exchange::{Broken, Downstream};
use crate::proxy::http::head::Heads;
use crate::proxy::http::headers;
use crate::proxy::http::local_reply::{self, Fixed};
use crate::proxy::http::name::Name;
use crate::proxy::http::session::Session;

/// Answers with what `error` means to the client.
pub(in crate::proxy::http) async fn refuse<D: Downstream>(
    session: &mut Session,
    client: &mut D,
    heads: &mut Heads,
    error: &ProxyError,
) -> Result<(), Broken> {
    if error.is_malformed() {
        session.worker.telemetry.malformed_request();
    }
    if error.ends_connection() {
        client.end_after_response();
    }
    let text = error.text();
    let body = local_reply::fill(&heads.request, &mut heads.response, error.status(), text.as_bytes());
    if let (Kind::Overload { all }, false) = (&error.kind, session.router.suppress_envoy_headers) {
        let name = if *all { Name::EnvoyUnconditionalDropOverload } else { Name::EnvoyDropOverload };
        heads.response.fields.append(name, b"true");
    }
    send(session, client, heads, body).await.map_err(|_| Broken)
}

/// A `direct_response`.
pub(super) async fn direct<D: Downstream>(
    session: &mut Session,
    client: &mut D,
    heads: &mut Heads,
    response: &DirectResponse,
    answered: &mut bool,
) -> Result<(), ProxyError> {
    let body = local_reply::fill(&heads.request, &mut heads.response, response.status, &response.body);
    if response.status.is_redirection() || response.status == StatusCode::CREATED {
        let scheme = if heads.request.https { "https" } else { "http" };
        let location = format!("{scheme}://{}{}", heads.request.authority(), heads.request.path());
        heads.response.fields.append(Name::Location, location.as_bytes());
    }
    *answered = true;
    send(session, client, heads, body).await.map_err(|error| ProxyError::client(Kind::Gone(error)))
}

/// A `redirect`.
pub(super) async fn redirect<D: Downstream>(
    session: &mut Session,
    client: &mut D,
    heads: &mut Heads,
    status: StatusCode,
    location: &str,
    answered: &mut bool,
) -> Result<(), ProxyError> {
    heads.response.clear();
    heads.response.status = status;
    heads.response.fields.append(Name::Location, location.as_bytes());
    *answered = true;
    send(session, client, heads, b"").await.map_err(|error| ProxyError::client(Kind::Gone(error)))
}

async fn send<D: Downstream>(
    session: &mut Session,
    client: &mut D,
    heads: &mut Heads,
    body: &[u8],
) -> Result<(), StreamError> {
    headers::sign_response(&session.chain.config, &session.worker.http, &heads.request, &mut heads.response);
    let mut body = Fixed(body);
    client.start_response(&mut heads.response, body.size())?;
    if heads.request.method == http::Method::HEAD {
        body = Fixed(b"");
    }
    let deadline = session.chain.config.stream_idle_timeout.map(|limit| tokio::time::Instant::now() + limit);
    let mut pump = Pump::new();
    poll_fn(|cx| {
        let (_, mut sink) = client.halves();
        match pump.poll(cx, &mut body, &mut sink) {
            Poll::Ready(Ok(())) => sink.poll_flush(cx),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into_inner())),
            Poll::Pending => session.alarm.poll(cx, deadline).map(|()| Err(StreamError::Closed)),
        }
    })
    .await
}
