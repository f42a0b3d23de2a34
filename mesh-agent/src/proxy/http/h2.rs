//! HTTP/2, with prior knowledge (h2c).
//!
//! ```text
//! server, client: a task per connection drives it; requests hold a stream of it
//!   └ stream      both directions of one stream, as the exchange sees them
//!   └ connection  one peer's frames, in and out; who may send how much
//!       └ frame, head, settings, window, guard, output: what frames say, and what is too much
//! ```
//! The codec is our own, as HTTP/1's is. A library would answer for us what is malformed, where Envoy ends the connection, and would
//! hide what it drops; and a header would be built three times on its way. The header compression is [`super::hpack`].
//! Priorities are read and not followed (RFC 9113, 5.3.2); nothing is pushed, and extended CONNECT is not announced.

pub(crate) mod client;
mod connection;
mod frame;
mod guard;
mod head;
mod output;
mod reason;
pub(crate) mod server;
mod settings;
mod stream;
mod window;

pub(crate) use reason::Reason;

use crate::model::cluster::Http2Options;

/// What a connection starts with: bytes that a client of HTTP/2 with prior knowledge sends first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// So much of it tells that the client means HTTP/2 and no version of HTTP/1, as Envoy sees it.
pub(super) const PREFACE_BEGIN: &[u8] = b"PRI * HTTP/2";

/// Bytes a peer may send on a stream before the other side took any: Envoy's default of
/// `per_connection_buffer_limit_bytes`, which the decoder takes as its least.
const STREAM_WINDOW: u32 = 1 << 20;
/// Bytes a peer may send on all streams of a connection.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Streams at once, where the configuration says nothing.
const MAX_STREAMS: u32 = 1024;

/// Options with all defaults filled in.
#[derive(Clone, Copy, Debug)]
struct Windows {
    stream: u32,
    connection: u32,
    streams: u32,
}

impl From<Http2Options> for Windows {
    fn from(options: Http2Options) -> Self {
        Self {
            stream: options.initial_stream_window_size.unwrap_or(STREAM_WINDOW),
            connection: options.initial_connection_window_size.unwrap_or(CONNECTION_WINDOW),
            streams: options.max_concurrent_streams.unwrap_or(MAX_STREAMS),
        }
    }
}
