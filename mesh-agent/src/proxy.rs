//! The way of the data: a connection is accepted, found its origin, matched to a chain, and carried as HTTP or as bytes.
//!
//! ```text
//! thread -> accept -> origin -> serve ─┬─> (detect) -> chain ─┬─> http
//!                                      │                      └─> opaque -> tcp
//!                                      └─> opaque (no listener: passes through)
//! ```
//!
//! Everything here runs on data threads: one current-thread runtime each, which owns its connections, pools and counters.
//! Nothing of a connection ever moves between threads, so nothing here is `Send` and nothing is locked.

mod accept;
mod chain;
mod connection;
mod detect;
mod error;
mod hold;
mod http;
mod opaque;
mod origin;
mod serve;
mod tcp;
mod thread;
mod worker;

pub use accept::{Entry, EntryKey};
pub use detect::ServerFirst;
pub use hold::{Asked, Asker, asking};
pub use thread::{Command, DataThreads, ThreadError};
pub use worker::Tools;
