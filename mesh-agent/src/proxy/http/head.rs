//! Heads of messages, the same for every version of HTTP.

use std::borrow::Cow;

use http::{Method, StatusCode};

use crate::proxy::http::fields::{Fields, Span};
use crate::proxy::http::name::Name;
use crate::route::RequestView;

/// Which HTTP a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    Http11,
    Http2,
}

/// How much body follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodySize {
    /// The message ends with its head.
    Empty,
    /// So many bytes, as announced.
    Known(u64),
    /// It ends when it ends.
    Unknown,
}

/// A request's head. `Host` and `:authority` are not among its fields.
#[derive(Clone, Debug)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) https: bool,
    /// It does not say for which host it is. One that says the empty host is for any.
    pub(crate) no_host: bool,
    pub(crate) fields: Fields,
    path: Span,
    authority: Span,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self {
            method: Method::GET,
            version: Version::Http11,
            https: false,
            no_host: false,
            fields: Fields::default(),
            path: Span::default(),
            authority: Span::default(),
        }
    }
}

impl RequestHead {
    pub(crate) fn clear(&mut self) {
        self.fields.clear();
        self.method = Method::GET;
        self.https = false;
        self.no_host = false;
        self.path = Span::default();
        self.authority = Span::default();
    }

    /// Path and query. Parsing lets only UTF-8 pass.
    pub(crate) fn path(&self) -> &str {
        std::str::from_utf8(self.fields.text(self.path)).unwrap_or_default()
    }

    pub(crate) fn set_path(&mut self, path: &str) {
        self.set_path_bytes(path.as_bytes());
    }

    pub(crate) fn set_path_bytes(&mut self, path: &[u8]) {
        self.path = self.fields.store(path);
    }

    pub(crate) fn authority(&self) -> &str {
        std::str::from_utf8(self.fields.text(self.authority)).unwrap_or_default()
    }

    pub(crate) fn set_authority(&mut self, authority: &str) {
        self.set_authority_bytes(authority.as_bytes());
    }

    pub(crate) fn set_authority_bytes(&mut self, authority: &[u8]) {
        self.authority = self.fields.store(authority);
    }

    /// Envoy's idea of a gRPC request: `content-type: application/grpc`, alone or with `+proto` and the like.
    pub(crate) fn is_grpc(&self) -> bool {
        self.fields
            .get(Name::ContentType)
            .and_then(|kind| kind.strip_prefix(b"application/grpc"))
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'+')))
    }

    /// Whether the client asks to leave HTTP/1.1 for another protocol.
    pub(crate) fn is_upgrade(&self) -> bool {
        self.fields.contains(Name::Upgrade) && self.fields.has_token(Name::Connection, "upgrade")
    }
}

impl RequestView for RequestHead {
    fn method(&self) -> &str {
        self.method.as_str()
    }

    fn scheme(&self) -> &str {
        if self.https { "https" } else { "http" }
    }

    fn authority(&self) -> &str {
        self.authority()
    }

    fn path(&self) -> &str {
        self.path()
    }

    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
        self.fields.all_of(name).map(String::from_utf8_lossy)
    }
}

/// A response's head.
#[derive(Clone, Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) fields: Fields,
}

impl Default for ResponseHead {
    fn default() -> Self {
        Self { status: StatusCode::OK, version: Version::Http11, fields: Fields::default() }
    }
}

impl ResponseHead {
    pub(crate) fn clear(&mut self) {
        self.status = StatusCode::OK;
        self.fields.clear();
    }
}

/// The two heads of one exchange, with memory that is used again.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    pub(crate) request: RequestHead,
    pub(crate) response: ResponseHead,
}

impl Heads {
    pub(crate) fn clear(&mut self) {
        self.request.clear();
        self.response.clear();
    }
}
