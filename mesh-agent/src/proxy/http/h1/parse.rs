//! Heads of HTTP/1 messages, strictly.
//!
//! `httparse` takes a head apart; what it lets pass and a proxy must not is refused here: line ends without CR, and everything that
//! leaves two readings of where the message ends. What one hop reads differently from the next is how requests are smuggled.

#[cfg(test)]
mod tests;

use std::mem::MaybeUninit;

use http::{Method, StatusCode};
use httparse::{Header, ParserConfig, Status};

use crate::proxy::http::fields::Fields;
use crate::proxy::http::head::{RequestHead, ResponseHead, Version};
use crate::proxy::http::name::Name;

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    /// It is not HTTP/1.
    #[error("malformed head: {0}")]
    Malformed(&'static str),
    /// It is larger than allowed.
    #[error("head too large")]
    TooLarge,
    /// It is HTTP/1, but not what may be asked of a proxy.
    #[error("rejected: {0}")]
    Rejected(&'static str),
    /// It has more headers than allowed.
    #[error("too many headers")]
    TooManyHeaders,
    /// It is of another version of HTTP.
    #[error("version not supported")]
    Version,
    /// The body is encoded in a way that only its end point could undo.
    #[error("transfer encoding not supported")]
    TransferEncoding,
}

/// What a head may measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    pub(crate) bytes: usize,
    pub(crate) headers: usize,
}

/// Headers that are parsed without asking the allocator.
const ON_STACK: usize = 128;

/// Parses a request's head at the front of `bytes` into `head`. `None`: it is not complete.
pub(super) fn request(bytes: &[u8], limits: HeadLimits, head: &mut RequestHead) -> Result<Option<usize>, ParseError> {
    with_headers(limits, |space| {
        let mut parsed = httparse::Request::new(&mut []);
        let size = match ParserConfig::default().parse_request_with_uninit_headers(&mut parsed, bytes, space) {
            Ok(Status::Complete(size)) => size,
            Ok(Status::Partial) => return incomplete(bytes, limits),
            Err(_) if is_other_version(bytes) => return Err(ParseError::Version),
            Err(error) => return Err(refusal(error)),
        };
        check(&bytes[..size], parsed.headers.len(), limits)?;
        head.clear();
        head.version = if parsed.version == Some(0) { Version::Http10 } else { Version::Http11 };
        head.method = method(parsed.method.unwrap_or_default())?;
        let host = copy_headers(parsed.headers, &mut head.fields, true)?;
        target(parsed.path.unwrap_or_default(), host, head)?;
        Ok(Some(size))
    })
}

/// Parses a response's head at the front of `bytes` into `head`. `None`: it is not complete.
pub(super) fn response(bytes: &[u8], limits: HeadLimits, head: &mut ResponseHead) -> Result<Option<usize>, ParseError> {
    if matches!(bytes.first(), Some(b'\r' | b'\n')) {
        // Only servers have to overlook these (RFC 9112, 2.2), and `httparse` does for both.
        return Err(ParseError::Malformed("empty line before an answer"));
    }
    with_headers(limits, |space| {
        let mut parsed = httparse::Response::new(&mut []);
        let size = match ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, bytes, space) {
            Ok(Status::Complete(size)) => size,
            Ok(Status::Partial) => return incomplete(bytes, limits),
            Err(error) => return Err(refusal(error)),
        };
        check(&bytes[..size], parsed.headers.len(), limits)?;
        head.clear();
        head.status =
            StatusCode::from_u16(parsed.code.unwrap_or_default()).map_err(|_| ParseError::Malformed("status"))?;
        head.version = if parsed.version == Some(0) { Version::Http10 } else { Version::Http11 };
        copy_headers(parsed.headers, &mut head.fields, false)?;
        Ok(Some(size))
    })
}

/// Parses the trailers at the front of `bytes`, up to and including the empty line. `None`: they are not complete.
pub(super) fn trailers(bytes: &[u8], limits: HeadLimits, fields: &mut Fields) -> Result<Option<usize>, ParseError> {
    if bytes.starts_with(b"\r\n") {
        return Ok(Some(2));
    }
    let mut space = vec![httparse::EMPTY_HEADER; limits.headers];
    match httparse::parse_headers(bytes, &mut space) {
        Ok(Status::Complete((size, headers))) => {
            check(&bytes[..size], headers.len(), limits)?;
            copy_headers(headers, fields, false)?;
            Ok(Some(size))
        }
        Ok(Status::Partial) => incomplete(bytes, limits),
        Err(error) => Err(refusal(error)),
    }
}

/// How far `bytes` were searched for the end of a head, so that one that comes in many small pieces is not parsed for each.
#[derive(Debug, Default)]
pub(super) struct EndSearch {
    searched: usize,
    parsed: usize,
}

impl EndSearch {
    /// Whether it is worth parsing now: the end may be there, or enough is new to see early that it is not HTTP.
    pub(super) fn worth_parsing(&mut self, bytes: &[u8]) -> bool {
        let from = self.searched.saturating_sub(2);
        self.searched = bytes.len();
        let ended = memchr::memchr_iter(b'\n', &bytes[from..])
            .any(|at| matches!(&bytes[from + at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]));
        let worth = ended || bytes.len() >= 2 * self.parsed;
        if worth {
            self.parsed = bytes.len();
        }
        worth
    }

    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Whether the first line is a request line, but one of another version: `GET /` is one of HTTP/0.9.
fn is_other_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    let mut words = line.trim_ascii_end().split(|byte| *byte == b' ');
    let begin = (words.next(), words.next());
    let (Some(method), Some(target)) = begin else { return false };
    let is_request = method.iter().all(u8::is_ascii_uppercase) && target.starts_with(b"/");
    let is_version = match (words.next(), words.next()) {
        (None, _) => true,
        (Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]), None) => {
            major.is_ascii_digit() && minor.is_ascii_digit() && (*major != b'1' || *minor > b'1')
        }
        _ => false,
    };
    is_request && is_version
}

/// The methods that Envoy knows.
fn method(name: &str) -> Result<Method, ParseError> {
    const OTHERS: [&str; 24] = [
        "ACL",
        "BIND",
        "CHECKOUT",
        "COPY",
        "LINK",
        "LOCK",
        "MERGE",
        "MKACTIVITY",
        "MKCALENDAR",
        "MKCOL",
        "MOVE",
        "MSEARCH",
        "NOTIFY",
        "PROPFIND",
        "PROPPATCH",
        "PURGE",
        "REBIND",
        "REPORT",
        "SEARCH",
        "SOURCE",
        "SUBSCRIBE",
        "UNBIND",
        "UNLINK",
        "UNLOCK",
    ];
    if name == "QUERY" {
        // Envoy's parser knows it and its codec does not, so that its answer is another one.
        return Err(ParseError::Rejected("method"));
    }
    let known = matches!(
        name,
        "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH" | "UNSUBSCRIBE"
    );
    if !known && !OTHERS.contains(&name) {
        return Err(ParseError::Malformed("method"));
    }
    Method::from_bytes(name.as_bytes()).map_err(|_| ParseError::Malformed("method"))
}

fn with_headers<'b, T>(
    limits: HeadLimits,
    parse: impl FnOnce(&mut [MaybeUninit<Header<'b>>]) -> Result<T, ParseError>,
) -> Result<T, ParseError> {
    if limits.headers <= ON_STACK {
        // More than allowed, so that one too many is told from a malformed one.
        parse(&mut [const { MaybeUninit::uninit() }; ON_STACK + 1])
    } else {
        // Each takes four bytes at least, so a limit beyond that is none.
        let mut space = Vec::new();
        space.resize_with(limits.headers.min(limits.bytes / 4) + 1, MaybeUninit::uninit);
        parse(&mut space)
    }
}

fn incomplete<T>(bytes: &[u8], limits: HeadLimits) -> Result<Option<T>, ParseError> {
    if bytes.len() > limits.bytes { Err(ParseError::TooLarge) } else { Ok(None) }
}

fn refusal(error: httparse::Error) -> ParseError {
    match error {
        httparse::Error::TooManyHeaders => ParseError::TooManyHeaders,
        httparse::Error::HeaderName => ParseError::Malformed("header name"),
        httparse::Error::HeaderValue => ParseError::Malformed("header value"),
        httparse::Error::NewLine => ParseError::Malformed("line end"),
        httparse::Error::Status => ParseError::Malformed("status"),
        httparse::Error::Token => ParseError::Malformed("token"),
        httparse::Error::Version => ParseError::Malformed("version"),
    }
}

fn check(head: &[u8], headers: usize, limits: HeadLimits) -> Result<(), ParseError> {
    if head.len() > limits.bytes {
        return Err(ParseError::TooLarge);
    }
    if headers > limits.headers {
        return Err(ParseError::TooManyHeaders);
    }
    // `httparse` takes LF alone for a line's end.
    let bare = memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r');
    if bare { Err(ParseError::Malformed("bare LF")) } else { Ok(()) }
}

/// Copies all headers but `Host`, which is returned. A second `Host` is refused.
fn copy_headers<'b>(
    headers: &[Header<'b>],
    fields: &mut Fields,
    is_request: bool,
) -> Result<Option<&'b [u8]>, ParseError> {
    let mut host = None;
    for header in headers {
        if is_request && header.name.eq_ignore_ascii_case("host") {
            if host.replace(header.value).is_some() {
                return Err(ParseError::Malformed("two Host headers"));
            }
            continue;
        }
        fields.append_raw(header.name.as_bytes(), header.value);
    }
    Ok(host)
}

/// Splits the request target. The authority of an absolute one counts, not `Host` (RFC 9112, 3.2.2).
fn target(target: &str, host: Option<&[u8]>, head: &mut RequestHead) -> Result<(), ParseError> {
    let no_host = host.is_none();
    let host = std::str::from_utf8(host.unwrap_or_default()).map_err(|_| ParseError::Malformed("host"))?;
    if !target.is_ascii() {
        return Err(ParseError::Malformed("request target"));
    }
    if head.method == Method::CONNECT {
        head.set_authority(target);
        return Ok(());
    }
    if target.starts_with('/') || (target == "*" && head.method == Method::OPTIONS) {
        head.set_path(target);
        head.set_authority(host);
        head.no_host = no_host;
        return Ok(());
    }
    let rest = match target.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => {
            head.https = true;
            rest
        }
        _ => return Err(ParseError::Malformed("request target")),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() || authority.contains('@') {
        return Err(ParseError::Malformed("request target"));
    }
    head.set_authority(authority);
    if path.starts_with('/') {
        head.set_path(path);
    } else {
        head.set_path(&format!("/{path}"));
    }
    Ok(())
}

/// Value of `content-length`, if there is one; only digits count, and only one header.
pub(super) fn content_length(fields: &Fields) -> Result<Option<u64>, ParseError> {
    let mut lengths = fields.all(Name::ContentLength);
    let Some(value) = lengths.next() else { return Ok(None) };
    if lengths.next().is_some() {
        return Err(ParseError::Malformed("two Content-Length headers"));
    }
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
    number.map(Some).ok_or(ParseError::Malformed("Content-Length"))
}

/// Whether the body is chunked. Any other transfer encoding is refused.
pub(super) fn is_chunked(fields: &Fields) -> Result<bool, ParseError> {
    let mut encodings = fields.all(Name::TransferEncoding);
    let Some(value) = encodings.next() else { return Ok(false) };
    if encodings.next().is_some() {
        return Err(ParseError::TransferEncoding);
    }
    if value.eq_ignore_ascii_case(b"chunked") { Ok(true) } else { Err(ParseError::TransferEncoding) }
}
