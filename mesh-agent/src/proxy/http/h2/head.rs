//! Header blocks as heads, and the other way round (RFC 9113, 8.2 and 8.3).
//!
//! A field goes from the wire into the head it belongs to, and what is wrong with it is kept: a block is always decoded to its end,
//! because both sides' tables have to stay the same. What leaves two readings is malformed, as it is in HTTP/1: there
//! it may go next.

#[cfg(test)]
mod tests;

use http::{Method, StatusCode};

use crate::proxy::http::fields::Fields;
use crate::proxy::http::head::{RequestHead, ResponseHead, Version};
use crate::proxy::http::headers::is_authority_byte;
use crate::proxy::http::hpack::Encoder;
use crate::proxy::http::name::Name;

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadError {
    Malformed(&'static str),
    TooLarge,
}

/// What a head may measure, with its pseudo-headers and with 32 bytes for each field (RFC 9113, 10.5.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes: usize,
    pub(super) fields: usize,
}

/// Counts what comes, and remembers what was wrong first.
#[derive(Debug)]
struct Check {
    limits: Limits,
    error: Option<HeadError>,
    /// A field that is no pseudo-header was seen: no pseudo-header may follow.
    regular: bool,
}

impl Check {
    fn new(limits: Limits) -> Self {
        Self { limits, error: None, regular: false }
    }

    fn refuse(&mut self, what: &'static str) {
        // That it is malformed counts more: it ends the connection.
        if !matches!(self.error, Some(HeadError::Malformed(_))) {
            self.error = Some(HeadError::Malformed(what));
        }
    }

    /// Takes note of one more field. `false`: there are too many by now.
    fn count(&mut self, name: &[u8], value: &[u8]) -> bool {
        let size = name.len() + value.len() + 32;
        match (self.limits.bytes.checked_sub(size), self.limits.fields.checked_sub(1)) {
            (Some(bytes), Some(fields)) => self.limits = Limits { bytes, fields },
            _ => self.error = self.error.or(Some(HeadError::TooLarge)),
        }
        self.error != Some(HeadError::TooLarge)
    }

    /// Appends a field that is no pseudo-header, if it may stand in a message.
    fn append(&mut self, fields: &mut Fields, name: &[u8], value: &[u8]) {
        self.regular = true;
        if !is_name(name) {
            return self.refuse("header name");
        }
        if !is_value(value) {
            return self.refuse("header value");
        }
        let known = fields.append_lower(name, value);
        match known {
            Name::Connection | Name::KeepAlive | Name::ProxyConnection | Name::TransferEncoding | Name::Upgrade => {
                self.refuse("header of a connection")
            }
            Name::Te if !value.eq_ignore_ascii_case(b"trailers") => self.refuse("te"),
            _ => {}
        }
    }

    fn end(self) -> Result<(), HeadError> {
        self.error.map_or(Ok(()), Err)
    }
}

/// Reads a request's head.
#[derive(Debug)]
pub(super) struct RequestReader<'h> {
    head: &'h mut RequestHead,
    check: Check,
    method: Option<Method>,
    scheme: bool,
    path: bool,
    authority: bool,
    cookies: Vec<u8>,
}

impl<'h> RequestReader<'h> {
    pub(super) fn new(head: &'h mut RequestHead, limits: Limits) -> Self {
        head.clear();
        head.version = Version::Http2;
        let check = Check::new(limits);
        Self { head, check, method: None, scheme: false, path: false, authority: false, cookies: Vec::new() }
    }

    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) {
        if !self.check.count(name, value) {
            return;
        }
        match name {
            [b':', ..] => self.pseudo(name, value),
            // A client may split its cookies; elsewhere they are one header (RFC 9113, 8.2.3).
            b"cookie" if is_value(value) => {
                self.check.regular = true;
                if !self.cookies.is_empty() {
                    self.cookies.extend_from_slice(b"; ");
                }
                self.cookies.extend_from_slice(value);
            }
            _ => self.check.append(&mut self.head.fields, name, value),
        }
    }

    fn pseudo(&mut self, name: &[u8], value: &[u8]) {
        if self.check.regular {
            return self.check.refuse("pseudo-header after a header");
        }
        let (repeated, sound) = match name {
            b":method" => match Method::from_bytes(value) {
                Ok(method) => (self.method.replace(method).is_some(), true),
                Err(_) => (false, false),
            },
            b":scheme" => {
                self.head.https = value == b"https";
                (std::mem::replace(&mut self.scheme, true), !value.is_empty())
            }
            b":path" => {
                let sound = value.iter().all(u8::is_ascii_graphic) && !value.is_empty();
                if sound {
                    self.head.set_path_bytes(value);
                }
                (std::mem::replace(&mut self.path, true), sound)
            }
            b":authority" => {
                let sound = is_authority(value);
                if sound {
                    self.head.set_authority_bytes(value);
                }
                (std::mem::replace(&mut self.authority, true), sound)
            }
            _ => return self.check.refuse("pseudo-header that requests do not have"),
        };
        if repeated {
            self.check.refuse("pseudo-header twice");
        } else if !sound {
            self.check.refuse("pseudo-header's value");
        }
    }

    /// All fields were seen. `Some`: the length that the head announces.
    pub(super) fn end(mut self) -> Result<Option<u64>, HeadError> {
        let is_connect = self.method == Some(Method::CONNECT);
        match self.method.take() {
            Some(method) => self.head.method = method,
            None => self.check.refuse("no method"),
        }
        let head = &mut *self.head;
        let whole = if is_connect { !self.scheme && !self.path } else { self.scheme && self.path };
        if !whole {
            self.check.refuse("scheme or path missing, or with CONNECT");
        }
        let asterisk = head.method == Method::OPTIONS && head.path() == "*";
        if !(is_connect || asterisk || head.path().starts_with('/')) {
            self.check.refuse("path");
        }
        let mut hosts = head.fields.all(Name::Host);
        let host = hosts.next().map(<[u8]>::to_vec);
        if hosts.next().is_some() {
            self.check.refuse("two hosts");
        }
        drop(hosts);
        match host {
            Some(host) if !self.authority && is_authority(&host) => head.set_authority_bytes(&host),
            None | Some(_) if !self.authority => self.check.refuse("no authority"),
            _ => {}
        }
        head.fields.remove(Name::Host);
        if !self.cookies.is_empty() {
            head.fields.append_lower(b"cookie", &self.cookies);
        }
        let length = content_length(&head.fields, &mut self.check);
        self.check.end().map(|()| length)
    }
}

/// Reads a response's head.
#[derive(Debug)]
pub(super) struct ResponseReader<'h> {
    head: &'h mut ResponseHead,
    check: Check,
    status: bool,
}

impl<'h> ResponseReader<'h> {
    pub(super) fn new(head: &'h mut ResponseHead, limits: Limits) -> Self {
        head.clear();
        head.version = Version::Http2;
        Self { head, check: Check::new(limits), status: false }
    }

    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) {
        if !self.check.count(name, value) {
            return;
        }
        match name {
            b":status" if !self.check.regular && !self.status => {
                self.status = true;
                match StatusCode::from_bytes(value) {
                    Ok(status) => self.head.status = status,
                    Err(_) => self.check.refuse("status"),
                }
            }
            [b':', ..] => self.check.refuse("pseudo-header"),
            _ => self.check.append(&mut self.head.fields, name, value),
        }
    }

    /// All fields were seen. `Some`: the length that the head announces.
    pub(super) fn end(mut self) -> Result<Option<u64>, HeadError> {
        if !self.status {
            self.check.refuse("no status");
        }
        let length = content_length(&self.head.fields, &mut self.check);
        self.check.end().map(|()| length)
    }
}

/// Reads trailers.
#[derive(Debug)]
pub(super) struct TrailersReader<'t> {
    fields: &'t mut Fields,
    check: Check,
}

impl<'t> TrailersReader<'t> {
    pub(super) fn new(fields: &'t mut Fields, limits: Limits) -> Self {
        Self { fields, check: Check::new(limits) }
    }

    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) {
        if self.check.count(name, value) {
            // A pseudo-header's name is none that a header may have.
            self.check.append(self.fields, name, value);
        }
    }

    pub(super) fn end(self) -> Result<(), HeadError> {
        self.check.end()
    }
}

/// Writes a request's head.
pub(super) fn write_request(encoder: &mut Encoder, to: &mut Vec<u8>, head: &RequestHead) {
    encoder.begin(to);
    encoder.field(to, b":method", head.method.as_str().as_bytes());
    encoder.field(to, b":scheme", if head.https { b"https" } else { b"http" });
    if !head.authority().is_empty() {
        encoder.field(to, b":authority", head.authority().as_bytes());
    }
    encoder.field(to, b":path", head.path().as_bytes());
    write(encoder, to, &head.fields);
}

/// Writes a response's head.
pub(super) fn write_response(encoder: &mut Encoder, to: &mut Vec<u8>, head: &ResponseHead) {
    encoder.begin(to);
    encoder.field(to, b":status", head.status.as_str().as_bytes());
    write(encoder, to, &head.fields);
}

/// Writes trailers.
pub(super) fn write_trailers(encoder: &mut Encoder, to: &mut Vec<u8>, fields: &Fields) {
    encoder.begin(to);
    write(encoder, to, fields);
}

fn write(encoder: &mut Encoder, to: &mut Vec<u8>, fields: &Fields) {
    for (name, value) in fields.iter() {
        encoder.field(to, name, value);
    }
}

fn content_length(fields: &Fields, check: &mut Check) -> Option<u64> {
    let mut lengths = fields.all(Name::ContentLength);
    let value = lengths.next()?;
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
    if length.is_none() || lengths.next().is_some() {
        check.refuse("content-length");
    }
    length
}

fn is_authority(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(|byte| is_authority_byte(*byte) && *byte != b'@')
}

/// A token without capitals (RFC 9110, 5.6.2; RFC 9113, 8.2.1).
fn is_name(name: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_token)
}

fn is_value(value: &[u8]) -> bool {
    value.iter().all(|byte| (*byte >= b' ' && *byte != 0x7f) || *byte == b'\t')
}
