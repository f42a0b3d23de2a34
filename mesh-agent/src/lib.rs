//! Bowline's node agent.
//!
//! ```text
//! data:    accept -> origin -> sniff -> chain -> http | tcp -> route -> balance -> transport -> app or next node
//! config:  file -> decode -> model -> snapshot -> tier -> rollout: kernel forgets, proxy swaps, kernel learns
//! ```
//!
//! Each arrow is a module or a file of that name; `ARCHITECTURE.md` walks both ways.

pub mod admin;
pub mod app;
pub mod balance;
pub mod check;
pub mod cli;
pub mod decode;
pub mod dns;
pub mod drain;
pub mod file;
mod grpc;
pub mod identity;
pub mod kernel;
pub mod model;
pub mod pod;
pub mod protobuf;
pub mod proxy;
pub mod rollout;
pub mod route;
pub mod settings;
pub mod snapshot;
pub mod spread;
pub mod telemetry;
pub mod tier;
pub mod transport;
pub mod xds;
