//! From a tree of fields to the model: the one decode of Envoy's v3 resources, whatever they were written in.
//!
//! Each decoder is a function over [`fields::Fields`], which hands out a message's fields and reports those nobody asked for.
//! Nothing stops at the first error. No file is opened here: what needs the host is handed back in [`Decoded::host_paths`].

mod action;
mod address;
mod at;
mod base64;
mod bootstrap;
mod chain;
mod cluster;
mod data_source;
mod discovery;
mod dynamic;
mod endpoint;
mod extension;
mod fields;
mod fraction;
mod http;
mod http_options;
mod identity;
mod kind;
mod listener;
mod management;
mod matcher;
mod mesh;
mod near;
mod node;
mod place;
mod problem;
mod rbac;
#[cfg(test)]
pub(crate) mod reference;
mod resource;
mod route;
mod route_match;
mod scope;
mod tcp;
mod tls;
mod udp;
mod unique;

pub(crate) use at::MAX_ERRORS;
pub use at::{HostPath, HostPathKind};
pub use bootstrap::{Decoded, bootstrap};
pub use discovery::{Discovered, discovery};
pub use node::{Entry, Node, Position, Value};
pub use place::Place;
pub(crate) use place::{Path, push_field};
pub use problem::{ConfigError, Problem};
pub(crate) use resource::name as resource_name;
pub use resource::{Refusal, resource};
