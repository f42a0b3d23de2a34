//! The way of the data: a connection is accepted, found its origin, matched to a chain, and carried as HTTP or as bytes.
//!
//! Everything here runs on data threads: one current-thread runtime each, which owns its connections, pools and counters.
//! Nothing of a connection ever moves between threads, so nothing here is `Send` and nothing is locked.

pub mod connection;
pub mod http;
pub mod worker;
