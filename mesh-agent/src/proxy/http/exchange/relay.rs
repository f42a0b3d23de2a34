//! Request out, answer back, both bodies at once.
//!
//! The two directions are two pumps in one task. The answer may come before the request is over, and an endpoint that answers and
//! closes without reading the rest of the request is believed: its answer counts, not that the request could not be written.

use std::future::poll_fn;
use std::task::{Context, Poll};

use http::StatusCode;

use crate::proxy::error::{Kind, ProxyError};
use crate::proxy::http::body::{Pump, PumpError, Sink, StreamError};
use crate::proxy::http::exchange::{Downstream, Progress, Upstream};
use crate::proxy::http::head::{BodySize, Heads};
use crate::proxy::http::headers;
use crate::proxy::http::session::Session;

/// Carries one request to `upstream` and the answer back to `client`.
pub(super) async fn relay<D: Downstream, U: Upstream>(
    session: &mut Session,
    client: &mut D,
    upstream: &mut U,
    heads: &mut Heads,
    progress: &mut Progress,
    upgrade: bool,
) -> Result<(), ProxyError> {
    let size = client.request_size();
    upstream.start_request(&mut heads.request, size, upgrade).map_err(broken_upstream)?;
    let mut request = Outgoing { pump: Pump::new(), held_back: upgrade && size == BodySize::Empty, failed: false };
    poll_fn(|cx| {
        request.poll(cx, client, upstream)?;
        if let Poll::Ready(result) = upstream.poll_response(cx, &mut heads.response) {
            return Poll::Ready(result.map_err(broken_upstream));
        }
        // `100 Continue` may be waiting, and the client waiting for it.
        let _ = client.poll_flush(cx).map_err(gone)?;
        let requested = request.is_over();
        if requested && let Poll::Ready(error) = client.poll_gone(cx) {
            return Poll::Ready(Err(gone(error)));
        }
        progress.clock.poll(cx, &mut session.alarm, request.pump.moved(), requested).map(Err)
    })
    .await?;

    let config = &session.chain.config;
    let upgraded = upgrade && heads.response.status == StatusCode::SWITCHING_PROTOCOLS;
    let service_time = progress.clock.service_time(request.is_over() && !upgrade);
    headers::forward_response(session.router.suppress_envoy_headers, &mut heads.response, upgraded, service_time);
    headers::sign_response(config, &session.worker.http, &heads.request, &mut heads.response);
    if upgraded {
        client.become_tunnel();
        request.held_back = false;
        progress.clock.tunnel();
    } else if upgrade {
        client.end_after_response();
    }
    progress.answered = true;
    client.start_response(&mut heads.response, upstream.response_size()).map_err(gone)?;

    let mut response = Pump::new();
    poll_fn(|cx| {
        if !request.held_back {
            request.poll(cx, client, upstream)?;
        }
        match response.poll(cx, &mut upstream.halves().0, &mut client.halves().1) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            // A tunnel ends with either direction, as Envoy's does.
            Poll::Pending if upgraded && request.pump.is_done() => return Poll::Ready(Ok(())),
            Poll::Pending => {}
            Poll::Ready(Err(PumpError::Source(error))) => return Poll::Ready(Err(broken_upstream(error))),
            Poll::Ready(Err(PumpError::Sink(error))) => return Poll::Ready(Err(gone(error))),
        }
        let requested = request.is_over();
        if requested
            && !upgraded
            && let Poll::Ready(error) = client.poll_gone(cx)
        {
            return Poll::Ready(Err(gone(error)));
        }
        let moves = request.pump.moved() + response.moved();
        progress.clock.poll(cx, &mut session.alarm, moves, requested).map(Err)
    })
    .await
}

/// The request's way to the endpoint.
struct Outgoing {
    pump: Pump,
    /// Nothing may follow the head yet: the endpoint has to agree to the upgrade first.
    held_back: bool,
    /// The endpoint takes no more.
    failed: bool,
}

impl Outgoing {
    /// Whether there is nothing more to wait for from the client.
    fn is_over(&self) -> bool {
        self.held_back || self.pump.source_ended()
    }

    fn poll<D: Downstream, U: Upstream>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut D,
        upstream: &mut U,
    ) -> Result<(), ProxyError> {
        if self.failed || self.pump.is_done() {
            return Ok(());
        }
        if self.held_back {
            let _ = upstream.halves().1.poll_flush(cx).map_err(broken_upstream)?;
            return Ok(());
        }
        match self.pump.poll(cx, &mut client.halves().0, &mut upstream.halves().1) {
            Poll::Ready(Err(PumpError::Source(error @ StreamError::Malformed(what)))) => {
                tracing::debug!(%error, "request body refused");
                Err(ProxyError::client(Kind::Malformed(what)))
            }
            Poll::Ready(Err(PumpError::Source(StreamError::HeadTooLarge))) => {
                Err(ProxyError::client(Kind::HeadTooLarge))
            }
            Poll::Ready(Err(PumpError::Source(error))) => Err(gone(error)),
            Poll::Ready(Err(PumpError::Sink(error))) => {
                tracing::debug!(%error, "endpoint takes no more of the request");
                self.failed = true;
                Ok(())
            }
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }
}

fn gone(error: StreamError) -> ProxyError {
    ProxyError::client(Kind::Gone(error))
}

fn broken_upstream(error: StreamError) -> ProxyError {
    ProxyError::upstream(Kind::Upstream(error))
}
