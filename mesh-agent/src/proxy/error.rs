//! Why a request or a connection failed, and all that follows from it, in one place: the status and text the client gets, the
//! response flag and the label in telemetry. Texts and codes are Envoy's, because clients and operators know them.

use std::borrow::Cow;

use http::StatusCode;

use crate::proxy::http::StreamError;
use crate::transport::ConnectError;

/// Whose doing it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The client's.
    Client,
    /// The agent's, or its configuration's.
    Agent,
    /// The endpoint's.
    Upstream,
}

/// What happened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Kind {
    /// The client left before it was answered.
    #[error("client left")]
    Gone(#[source] StreamError),
    /// The request is not HTTP, or has two readings.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// The request's head is larger than allowed.
    #[error("request head too large")]
    HeadTooLarge,
    /// The request's transfer encoding is not `chunked`.
    #[error("transfer encoding not supported")]
    TransferEncoding,
    /// The request is HTTP, and yet not one that could be meant.
    #[error("rejected: {0}")]
    Rejected(&'static str),
    /// The first proxy on the way in was asked for `https`, and not over TLS.
    #[error("https over plain text")]
    HttpsTarget,
    /// The request has no path.
    #[error("no path")]
    NoPath,
    /// HTTP/1.0, where that is not accepted.
    #[error("HTTP/1.0 not accepted")]
    Http10,
    /// The head did not arrive in time.
    #[error("head did not arrive in time")]
    HeadTimeout,
    /// The request did not arrive in time.
    #[error("request did not arrive in time")]
    RequestTimeout,
    /// Nothing moved for too long. `request_complete`: it was the endpoint that kept silent.
    #[error("nothing moved for too long")]
    Idle { request_complete: bool },
    /// An upgrade that is not allowed.
    #[error("upgrade not allowed")]
    Upgrade,
    /// A filter that comes by itself has not come, and there is none to stand in for it.
    #[error("a filter is not there")]
    NoFilter,
    /// No route takes the request.
    #[error("no route")]
    NoRoute,
    /// The route's cluster is gone; the route says with which status that is answered.
    #[error("no cluster")]
    NoCluster(StatusCode),
    /// The route or its cluster has to be asked for, and too much waits for that already.
    #[error("too much waits for the configuration")]
    NotHeld,
    /// Too much is asked of the cluster, as its assignment says. `all`: every request is dropped.
    #[error("dropped: the cluster is overloaded")]
    Overload { all: bool },
    /// The cluster has no endpoint.
    #[error("cluster has no endpoint")]
    NoEndpoint,
    /// No connection to the endpoint.
    #[error("no connection to the endpoint")]
    Connect(#[source] ConnectError),
    /// The endpoint broke off, before or after its head.
    #[error("endpoint broke off")]
    Upstream(#[source] StreamError),
    /// The endpoint did not answer in time.
    #[error("endpoint did not answer in time")]
    Timeout,
}

/// A failed request or connection.
#[derive(Debug, thiserror::Error)]
#[error("{side:?}: {kind}")]
pub(crate) struct ProxyError {
    /// Whose doing it was.
    pub(crate) side: Side,
    /// What happened.
    #[source]
    pub(crate) kind: Kind,
}

impl ProxyError {
    pub(crate) fn client(kind: Kind) -> Self {
        Self { side: Side::Client, kind }
    }

    pub(crate) fn agent(kind: Kind) -> Self {
        Self { side: Side::Agent, kind }
    }

    pub(crate) fn upstream(kind: Kind) -> Self {
        Self { side: Side::Upstream, kind }
    }

    /// What the client is answered, if it is still there and has no answer yet.
    pub(crate) fn status(&self) -> StatusCode {
        match &self.kind {
            Kind::Gone(_) | Kind::Malformed(_) | Kind::Rejected(_) => StatusCode::BAD_REQUEST,
            Kind::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Kind::TransferEncoding => StatusCode::NOT_IMPLEMENTED,
            Kind::Http10 => StatusCode::UPGRADE_REQUIRED,
            Kind::HeadTimeout | Kind::RequestTimeout | Kind::Idle { request_complete: false } => {
                StatusCode::REQUEST_TIMEOUT
            }
            Kind::Upgrade | Kind::HttpsTarget => StatusCode::FORBIDDEN,
            Kind::NoRoute | Kind::NoPath => StatusCode::NOT_FOUND,
            Kind::NoCluster(status) => *status,
            Kind::NoFilter => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::Upstream(StreamError::Malformed(_) | StreamError::HeadTooLarge) => StatusCode::BAD_GATEWAY,
            Kind::NotHeld | Kind::Overload { .. } | Kind::NoEndpoint | Kind::Connect(_) | Kind::Upstream(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Kind::Timeout | Kind::Idle { request_complete: true } => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Body of that answer.
    pub(crate) fn text(&self) -> Cow<'static, str> {
        match &self.kind {
            Kind::Gone(_)
            | Kind::Rejected(_)
            | Kind::NoPath
            | Kind::NoFilter
            | Kind::NoRoute
            | Kind::NoCluster(_)
            | Kind::Upgrade => "".into(),
            Kind::Malformed(_) => "Bad Request".into(),
            Kind::HttpsTarget => "Forbidden".into(),
            Kind::HeadTooLarge => "Request Header Fields Too Large".into(),
            Kind::TransferEncoding => "Not Implemented".into(),
            Kind::Http10 => "Upgrade Required".into(),
            Kind::HeadTimeout => "request header timeout".into(),
            Kind::RequestTimeout => "request timeout".into(),
            Kind::Idle { .. } => "stream timeout".into(),
            Kind::Overload { all: true } => "unconditional drop overload".into(),
            Kind::Overload { all: false } => "drop overload".into(),
            Kind::NotHeld => "overflow".into(),
            Kind::NoEndpoint => "no healthy upstream".into(),
            Kind::Timeout => "upstream request timeout".into(),
            Kind::Connect(error) => match error {
                ConnectError::Timeout { .. } => reset("connection timeout"),
                ConnectError::Socket { .. } => reset("local connection failure"),
                ConnectError::Refused { .. } => reset("remote connection failure"),
                ConnectError::Tls { source, .. } => {
                    reset(&format!("remote connection failure, transport failure reason: TLS_error:{source}"))
                }
            },
            Kind::Upstream(error) => match error {
                StreamError::Closed | StreamError::Io(_) => reset("connection termination"),
                StreamError::Reset(_) if error.is_refusal() => reset("remote refused stream reset"),
                StreamError::Reset(_) => reset("remote reset"),
                StreamError::Malformed(_) | StreamError::HeadTooLarge => reset("protocol error"),
            },
        }
    }

    /// Label of the error in telemetry: Envoy's response flag, in words where it has none.
    pub(crate) fn label(&self) -> &'static str {
        match &self.kind {
            Kind::Gone(_) => "DC",
            Kind::Malformed(_)
            | Kind::HeadTooLarge
            | Kind::TransferEncoding
            | Kind::Rejected(_)
            | Kind::HttpsTarget
            | Kind::NoPath
            | Kind::Http10
            | Kind::Upgrade => "DPE",
            Kind::HeadTimeout | Kind::RequestTimeout | Kind::Idle { .. } => "SI",
            Kind::NoFilter => "NFCF",
            Kind::NoRoute => "NR",
            Kind::NoCluster(_) => "NC",
            Kind::Overload { all: true } => "UDO",
            Kind::Overload { all: false } => "DO",
            Kind::NotHeld => "UO",
            Kind::NoEndpoint => "UH",
            Kind::Connect(_) => "UF",
            Kind::Upstream(StreamError::Reset(_)) => "UR",
            Kind::Upstream(StreamError::Malformed(_) | StreamError::HeadTooLarge) => "UPE",
            Kind::Upstream(_) => "UC",
            Kind::Timeout => "UT",
        }
    }

    /// Whether the client's connection ends with the answer, where it carries one request at a time.
    pub(crate) fn ends_connection(&self) -> bool {
        match &self.kind {
            Kind::HeadTimeout | Kind::RequestTimeout | Kind::Idle { request_complete: false } => true,
            Kind::Upgrade | Kind::HttpsTarget | Kind::Http10 => true,
            _ => self.is_malformed(),
        }
    }

    /// Whether the request broke the rules of HTTP.
    pub(crate) fn is_malformed(&self) -> bool {
        matches!(self.kind, Kind::Malformed(_) | Kind::Rejected(_) | Kind::HeadTooLarge | Kind::TransferEncoding)
    }
}

fn reset(reason: &str) -> Cow<'static, str> {
    format!("upstream connect error or disconnect/reset before headers. reset reason: {reason}").into()
}
