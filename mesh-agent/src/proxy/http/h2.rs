//! HTTP/2, with prior knowledge (h2c), by the `h2` crate.
//!
//! Framing, HPACK and flow-control accounting are the crate's. Ours is that a byte is only given back to the sender's window once the
//! other side of the exchange took it, and one task per stream.

pub(crate) mod client;
mod convert;
pub(crate) mod server;
mod stream;

use crate::model::cluster::Http2Options;

/// What a connection starts with: bytes that a client of HTTP/2 with prior knowledge sends first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes a peer may send on a stream before the other side took any: Envoy's default of
/// `per_connection_buffer_limit_bytes`, which the decoder takes as its least.
const STREAM_WINDOW: u32 = 1 << 20;
/// Bytes a peer may send on all streams of a connection.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Streams at once, where the configuration says nothing.
const MAX_STREAMS: u32 = 1024;
/// Bytes of a stream that wait in the crate's own buffer.
const SEND_BUFFER: usize = 64 * 1024;

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
