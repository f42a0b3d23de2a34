//! What crosses the border between the kernel programs and the agent: map keys and values, the names of maps, programs and
//! pins, and the one pure function that decides what happens to a connection.
//!
//! Nothing here allocates or does I/O, so that the same code runs in the kernel's verifier and in a unit test on the host.
//! Every type that lies in a map is `repr(C)`, has no padding that is not a named field, and its size is asserted: the kernel
//! compares keys byte by byte.
#![cfg_attr(not(test), no_std)]

pub mod accelerate;
pub mod config;
pub mod counter;
pub mod datagram;
pub mod decide;
pub mod event;
pub mod flow;
pub mod kept;
pub mod names;
pub mod policy;
pub mod service;
#[cfg(feature = "user")]
mod user;
pub mod workload;

/// Version of everything in this crate that both sides must agree on. Changes with any layout, name or meaning; the one
/// before is added to [`names::KEPT_OF`] then.
pub const ABI_VERSION: u32 = 13;
