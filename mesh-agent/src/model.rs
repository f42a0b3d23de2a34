//! The typed configuration: what the agent was told, after it was found to make sense.
//!
//! Everything here is plain data (`Clone + Eq`), parsed at the edge by [`crate::decode`] and never checked again. Runtime state
//! (pools, counters, picked endpoints) is built from it and lives elsewhere. This module knows no YAML, no protobuf, no socket.

pub mod authz;
pub mod cluster;
pub mod config;
pub mod endpoint;
pub mod event;
pub mod extension;
pub mod figures;
pub mod filter;
pub mod flow;
pub mod listener;
pub mod management;
pub mod matcher;
pub mod metadata;
pub mod mount;
pub mod name;
pub mod resource;
pub mod route;
pub mod scope;
pub mod service;
pub mod tls;
pub mod workload;
