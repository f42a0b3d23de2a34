//! One request and its answer, whatever HTTP either side speaks.
//!
//! ```text
//! receive (check, mark) -> route -> endpoint -> connection -> relay: request out, answer back, both bodies at once
//!                            └── redirect, direct response, any error: an answer of our own
//! ```
//! It runs inside the task of the client's connection or stream: no task, no channel and no allocation of its own.

mod answer;
mod clock;
mod link;
mod relay;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::model::endpoint::Endpoint;
use crate::model::route::{Forward, HostRewrite};
use crate::proxy::error::{Kind, ProxyError};
use crate::proxy::hold::{NotHeld, Until};
use crate::proxy::http::body::{Duplex, StreamError};
use crate::proxy::http::exchange::clock::Clock;
use crate::proxy::http::exchange::link::Destination;
use crate::proxy::http::head::{BodySize, Heads, RequestHead, ResponseHead};
use crate::proxy::http::headers;
use crate::proxy::http::name::Name;
use crate::proxy::http::path;
use crate::proxy::http::session::Session;
use crate::route::{CompiledRoute, Outcome, location};
use crate::snapshot::{Cold, Drop};
use crate::telemetry::Edge;

pub(super) use answer::refuse;

/// The client's side of an exchange.
pub(super) trait Downstream: Duplex {
    /// How much body follows the request's head, or still follows.
    fn request_size(&self) -> BodySize;
    /// Answers `100 Continue`.
    fn send_continue(&mut self) -> Result<(), StreamError>;
    /// The next answer is the last one on this connection, where it carries one request at a time.
    fn end_after_response(&mut self);
    /// Sends the answer's head; a body of `size` follows.
    fn start_response(&mut self, head: &mut ResponseHead, size: BodySize) -> Result<(), StreamError>;
    /// Ready when the client left. To be asked only once the request was read to its end.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<StreamError>;
    /// Hands what was sent to the operating system.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>>;
    /// Whether this version of HTTP knows upgrades.
    fn may_upgrade(&self) -> bool;
    /// What follows are bytes of another protocol.
    fn become_tunnel(&mut self);
}

/// The endpoint's side of an exchange.
pub(super) trait Upstream: Duplex {
    /// Sends the request's head; a body of `size` follows.
    fn start_request(&mut self, head: &mut RequestHead, size: BodySize, upgrade: bool) -> Result<(), StreamError>;
    /// Receives the answer's head.
    fn poll_response(&mut self, cx: &mut Context<'_>, head: &mut ResponseHead) -> Poll<Result<(), StreamError>>;
    /// How much body follows the answer's head.
    fn response_size(&self) -> BodySize;
}

/// The exchange broke off in the middle of the answer: all that is left is to break off the client's side too.
#[derive(Debug)]
pub(super) struct Broken;

/// What is known of an exchange while it runs.
struct Progress {
    clock: Clock,
    edge: Option<Arc<Edge>>,
    /// The answer's head is on its way to the client.
    answered: bool,
}

/// Carries out one exchange.
pub(super) async fn run<D: Downstream>(session: &mut Session, client: &mut D, heads: &mut Heads) -> Result<(), Broken> {
    let mut progress = Progress { clock: Clock::start(session), edge: None, answered: false };
    let result = attempt(session, client, heads, &mut progress).await;
    let result = match result {
        Ok(()) => Ok(()),
        Err(error) if progress.answered || matches!(error.kind, Kind::Gone(_)) => {
            tracing::debug!(%error, path = heads.request.path(), "exchange broken off");
            // What came before the break is the client's, as far as it can be sent at once.
            poll_fn(|cx| {
                let _ = client.poll_flush(cx);
                Poll::Ready(())
            })
            .await;
            progress.edge.as_deref().unwrap_or(session.agent_edge()).error(error.label());
            return Err(Broken);
        }
        Err(error) => {
            if let Kind::Connect(why) = &error.kind
                && let Some(edge) = &progress.edge
            {
                tracing::debug!(error = %why, "no upstream connection");
                edge.connect_failed();
            }
            progress.edge.as_deref().unwrap_or(session.agent_edge()).error(error.label());
            refuse(session, client, heads, &error).await
        }
    };
    let edge = progress.edge.as_deref().unwrap_or(session.agent_edge());
    edge.request(heads.response.status.as_u16(), progress.clock.elapsed());
    result
}

async fn attempt<D: Downstream>(
    session: &mut Session,
    client: &mut D,
    heads: &mut Heads,
    progress: &mut Progress,
) -> Result<(), ProxyError> {
    let chain = Arc::clone(&session.chain);
    let config = &*chain.config;
    let upgrade = headers::receive(session, &mut heads.request)? && client.may_upgrade();
    if heads.request.fields.get(Name::Expect).is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue")) {
        heads.request.fields.remove(Name::Expect);
        client.send_continue().map_err(|error| ProxyError::client(Kind::Gone(error)))?;
    }
    if config.normalize_path || config.merge_slashes {
        path::normalize(config, &mut heads.request)?;
    }
    let mut snapshot = session.worker.snapshot();
    let mut until = Until::default();
    let random = session.worker.random();
    // Again with the next snapshot, if something had to be waited for: a request sees one snapshot.
    let (route, forward, cluster) = loop {
        session.router = chain.router(&snapshot).ok_or(ProxyError::agent(Kind::NoFilter))?;
        let (cold, otherwise) = match chain.table(&snapshot, &heads.request) {
            Err(cold) => (cold, Kind::NoRoute),
            Ok(table) => {
                let route = table.find(&heads.request);
                if upgrade && !upgrade_allowed(&config.upgrades, route, &heads.request) {
                    return Err(ProxyError::client(Kind::Upgrade));
                }
                let route = route.ok_or(ProxyError::agent(Kind::NoRoute))?;
                let (clusters, forward) = match &route.outcome {
                    Outcome::Forward { clusters, config } => (clusters, config),
                    Outcome::Respond(response) => {
                        return answer::direct(session, client, heads, response, &mut progress.answered).await;
                    }
                    Outcome::Redirect(redirect) => {
                        let location = location(redirect, &route.matches.path, &heads.request);
                        return answer::redirect(
                            session,
                            client,
                            heads,
                            redirect.status,
                            &location,
                            &mut progress.answered,
                        )
                        .await;
                    }
                };
                let slot = clusters.pick(random);
                let missing = Kind::NoCluster(forward.cluster_not_found);
                match snapshot.cluster(slot) {
                    Some(cluster) => break (route, forward, cluster),
                    None if snapshot.is_cold(&Cold::Cluster(slot)) => (Cold::Cluster(slot), missing),
                    None => return Err(ProxyError::agent(missing)),
                }
            }
        };
        // Boxed: hardly any request comes here.
        snapshot = match Box::pin(session.worker.hold(cold, &mut until)).await {
            Ok(snapshot) => snapshot,
            Err(NotHeld::Late) => return Err(ProxyError::agent(otherwise)),
            Err(NotHeld::Full) => return Err(ProxyError::agent(Kind::NotHeld)),
        };
        progress.clock.resume();
    };
    progress.edge = Some(session.edge(cluster));
    progress.clock.route(forward, config);
    if let Some(drop) = cluster.endpoints.drops(session.worker.random()) {
        return Err(ProxyError::agent(Kind::Overload { all: drop == Drop::All }));
    }
    let endpoint = session.worker.pick(cluster, None).ok_or(ProxyError::agent(Kind::NoEndpoint))?;
    let target = session.worker.target(endpoint.address, &session.origin);
    let quiet = session.router.suppress_envoy_headers;
    rewrite(quiet, route, forward, &endpoint, &mut heads.request);
    headers::announce_timeout(quiet, &mut heads.request, forward.timeout);
    link::carry(session, client, heads, progress, Destination { cluster, target, upgrade }).await
}

/// Whether the connection manager, or the route over it, allows the upgrade that `request` asks for.
fn upgrade_allowed(allowed: &[String], route: Option<&CompiledRoute>, request: &RequestHead) -> bool {
    let Some(wanted) = request.fields.get_str(Name::Upgrade) else { return false };
    if let Some(CompiledRoute { outcome: Outcome::Forward { config, .. }, .. }) = route
        && let Some((_, allow)) = config.upgrades.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted))
    {
        return *allow;
    }
    allowed.iter().any(|name| name.eq_ignore_ascii_case(wanted))
}

/// Host and path as the route wants them to be.
fn rewrite(quiet: bool, route: &CompiledRoute, forward: &Forward, endpoint: &Endpoint, request: &mut RequestHead) {
    let original_host = match &forward.host {
        HostRewrite::Keep => String::new(),
        _ => request.authority().to_owned(),
    };
    match &forward.host {
        HostRewrite::Keep => {}
        HostRewrite::Literal(host) => request.set_authority(host),
        HostRewrite::Auto => {
            if let Some(host) = &endpoint.hostname {
                request.set_authority(host);
            }
        }
        HostRewrite::Header(name) => {
            let value = request.fields.all_of(name).next().and_then(|value| std::str::from_utf8(value).ok());
            if let Some(host) = value.filter(|host| !host.is_empty()).map(str::to_owned) {
                request.set_authority(&host);
            }
        }
    }
    if !(quiet || original_host.is_empty()) && request.authority() != original_host {
        request.fields.set(Name::EnvoyOriginalHost, original_host.as_bytes());
    }
    if let Some(path) = route.rewritten_path(request.path()) {
        if !quiet {
            let original = request.path().to_owned();
            request.fields.set(Name::EnvoyOriginalPath, original.as_bytes());
        }
        request.set_path(&path);
    }
}
