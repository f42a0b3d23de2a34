//! xDS v3: the client of a management server, and the reader of files that stand for one.
//!
//! ```text
//! client (gRPC, bytes) <-> session (the protocol, without sockets or clock) -> deliveries -> store, rollout
//! files (watched) ---------------------------------------------------------> deliveries -/
//! ```
//!
//! [`session`] knows the rules of the protocol and nothing of its transport, so each rule is tested without either. What is in a
//! resource is [`crate::decode`]'s.

pub mod client;
pub mod delivery;
pub mod files;
pub mod identity;
mod kept;
mod message;
pub mod session;
pub mod status;
mod wishes;
