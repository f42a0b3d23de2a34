//! What a client speaks, from its first bytes, without stalling one that waits for the server to speak first.
//!
//! A bounded number of bytes is read within a bounded time. A client that stays silent is opaque; if its server then does speak
//! first (MySQL, SMTP), [`ServerFirst`] remembers that destination, and its next connections do not wait at all.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;

use crate::telemetry::Protocol;
use crate::transport::read;

/// What every HTTP/2 connection begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// More than any method of HTTP has; a longer first word is not HTTP.
const LONGEST_METHOD: usize = 32;
/// The first line of a request must show itself as HTTP within this.
const LONGEST_LINE: usize = 8 * 1024;
/// Destinations remembered; when full, it starts over.
const MOST_REMEMBERED: usize = 4096;

/// The outcome of looking at a connection's first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detected {
    /// The bytes say so.
    Protocol(Protocol),
    /// There were none in time.
    Silent,
}

/// Reads from `stream` into `read_ahead` until its protocol is clear, for `patience` at most.
pub(super) async fn detect(
    stream: &mut TcpStream,
    read_ahead: &mut BytesMut,
    patience: Duration,
) -> io::Result<Detected> {
    let reading = async {
        loop {
            if let Some(protocol) = classify(read_ahead) {
                return Ok(protocol);
            }
            if read::read(stream, read_ahead).await? == 0 {
                return Ok(Protocol::Opaque);
            }
        }
    };
    match tokio::time::timeout(patience, reading).await {
        Ok(protocol) => protocol.map(Detected::Protocol),
        Err(_) if read_ahead.is_empty() => Ok(Detected::Silent),
        Err(_) => Ok(Detected::Protocol(Protocol::Opaque)),
    }
}

/// The protocol that begins with `bytes`; `None` while more of them are needed.
fn classify(bytes: &[u8]) -> Option<Protocol> {
    let first = *bytes.first()?;
    if first == 0x16 {
        // A TLS record of type handshake, version 3.x (RFC 8446, 5.1).
        return match bytes.get(1) {
            None => None,
            Some(3) => Some(Protocol::Tls),
            Some(_) => Some(Protocol::Opaque),
        };
    }
    if PREFACE.starts_with(bytes) || bytes.starts_with(PREFACE) {
        return (bytes.len() >= PREFACE.len()).then_some(Protocol::Http2);
    }
    classify_http1(bytes)
}

/// A request line ends in ` HTTP/1.x`: only that makes it HTTP, so that other protocols made of words (SMTP's `EHLO host`) are not taken for it.
fn classify_http1(bytes: &[u8]) -> Option<Protocol> {
    let method = bytes.iter().position(|byte| !byte.is_ascii_uppercase() && *byte != b'-' && *byte != b'_');
    let line = bytes.iter().position(|byte| *byte == b'\n');
    match (method, line) {
        (Some(0), _) => Some(Protocol::Opaque),
        (Some(end), _) if bytes[end] != b' ' || end > LONGEST_METHOD => Some(Protocol::Opaque),
        (None, _) if bytes.len() > LONGEST_METHOD => Some(Protocol::Opaque),
        (Some(_), Some(end)) => {
            let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
            let version = line.len().checked_sub(8).map(|at| &line[at..]);
            Some(match version {
                Some(b"HTTP/1.1" | b"HTTP/1.0") => Protocol::Http1,
                _ => Protocol::Opaque,
            })
        }
        _ if bytes.len() > LONGEST_LINE => Some(Protocol::Opaque),
        _ => None,
    }
}

/// Destinations whose servers speak first. Shared by all data threads; asked once per connection that needs detection.
#[derive(Debug, Default)]
pub struct ServerFirst {
    destinations: Mutex<HashSet<SocketAddr>>,
}

impl ServerFirst {
    /// Whether the server at `destination` was the first to speak, the last time.
    pub(super) fn knows(&self, destination: SocketAddr) -> bool {
        self.lock().contains(&destination)
    }

    /// The server at `destination` spoke first.
    pub(super) fn remember(&self, destination: SocketAddr) {
        let mut destinations = self.lock();
        if destinations.len() >= MOST_REMEMBERED {
            destinations.clear();
        }
        destinations.insert(destination);
    }

    /// A client of `destination` spoke first.
    pub(super) fn forget(&self, destination: SocketAddr) {
        self.lock().remove(&destination);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<SocketAddr>> {
        self.destinations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{PREFACE, classify};
    use crate::telemetry::Protocol::{Http1, Http2, Opaque, Tls};

    #[test]
    fn first_bytes() {
        let preface = [PREFACE, b"\0\0\0\x04"].concat();
        let cases: [(&[u8], _); 17] = [
            (b"", None),
            (b"GET / HTTP/1.1\r\n", Some(Http1)),
            (b"M-SEARCH * HTTP/1.1\r\n", Some(Http1)),
            (b"GET / HTTP/1.0\n", Some(Http1)),
            (b"GET /", None),
            (b"GE", None),
            (b"P", None),
            (b"PRI * HTTP/2.0\r\n", None),
            (&preface, Some(Http2)),
            (b"PRINT THIS\r\n", Some(Opaque)),
            (b"EHLO mail.example.com\r\n", Some(Opaque)),
            (b"*1\r\n$4\r\nPING\r\n", Some(Opaque)),
            (b"\x16", None),
            (b"\x16\x03\x01\x02\x00", Some(Tls)),
            (b"\x16\x04", Some(Opaque)),
            (b"\0\0\0\x08", Some(Opaque)),
            (b"get / http/1.1\r\n", Some(Opaque)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(classify(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
