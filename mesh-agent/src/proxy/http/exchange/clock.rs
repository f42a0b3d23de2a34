//! The deadlines of one exchange.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::filter::HttpConnectionManager;
use crate::model::route::{Forward, IdleTimeout};
use crate::proxy::error::{Kind, ProxyError};
use crate::proxy::http::session::{Alarm, Session};

/// When the exchange began, when something last moved, and how long either may be ago.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    /// When it could go on: limits count from here.
    from: Instant,
    /// When the client had sent all of its request: the route's timeout counts from here.
    requested: Option<Instant>,
    moved: Instant,
    moves: u64,
    /// Nothing was waited for yet: what has moved has moved just now.
    fresh: bool,
    whole: Option<Duration>,
    idle: Option<Duration>,
    request: Option<Duration>,
}

impl Clock {
    pub(super) fn start(session: &Session) -> Self {
        let now = Instant::now();
        let config = &session.chain.config;
        Self {
            started: now,
            from: now,
            requested: None,
            moved: now,
            moves: 0,
            fresh: true,
            whole: None,
            idle: config.stream_idle_timeout,
            request: config.request_timeout,
        }
    }

    /// The request's route is known.
    pub(super) fn route(&mut self, forward: &Forward, config: &HttpConnectionManager) {
        self.whole = forward.timeout;
        self.idle = match forward.idle_timeout {
            IdleTimeout::Inherit => config.stream_idle_timeout,
            IdleTimeout::Never => None,
            IdleTimeout::After(limit) => Some(limit),
        };
    }

    /// It goes on after a wait that is nobody's fault, and that had a limit of its own.
    pub(super) fn resume(&mut self) {
        self.from = Instant::now();
        self.moved = self.from;
    }

    /// An upgraded connection is no longer a request: only silence ends it.
    pub(super) fn tunnel(&mut self) {
        self.whole = None;
        self.request = None;
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// How long the endpoint has been at it, if it has had all of the request.
    pub(super) fn service_time(&self, requested: bool) -> Option<Duration> {
        requested.then(|| self.requested.unwrap_or(self.from).elapsed())
    }

    /// Ready when a deadline has passed. `moves` counts what moved, `requested` says whether the whole request was read.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        alarm: &mut Alarm,
        moves: u64,
        requested: bool,
    ) -> Poll<ProxyError> {
        if moves != self.moves {
            self.moves = moves;
            self.moved = if self.fresh { self.from } else { Instant::now() };
        }
        self.fresh = false;
        if requested && self.requested.is_none() {
            self.requested = Some(self.moved);
        }
        let whole = self.requested.zip(self.whole).map(|(from, limit)| from + limit);
        let request = if requested { None } else { self.request.map(|limit| self.from + limit) };
        let idle = self.idle.map(|limit| self.moved + limit);
        let next = [whole, request, idle].into_iter().flatten().min();
        ready!(alarm.poll(cx, next));
        Poll::Ready(match next {
            _ if next == whole => ProxyError::upstream(Kind::Timeout),
            _ if next == request => ProxyError::client(Kind::RequestTimeout),
            _ if requested => ProxyError::upstream(Kind::Idle { request_complete: true }),
            _ => ProxyError::client(Kind::Idle { request_complete: false }),
        })
    }
}
