//! HTTP/1, in our own codec: what smuggles requests must be seen before it is normalised away, and a request must cost little
//! more than the system calls that move it.

mod buffer;
pub(crate) mod client;
mod decode;
mod encode;
pub(crate) mod parse;
pub(crate) mod server;
mod wire;
