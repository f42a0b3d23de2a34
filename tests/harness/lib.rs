//! The test world: pods made of namespaces, real servers, and the agent as a child process.
//!
//! ```text
//! World -> Pod -> Process (a program in the pod)      enter(): this program's own thread in the pod
//! Agent -> Process (mesh-agent run) + Admin           its configuration, log, signals and Unix socket
//! echo::HttpServer, tcp::{echo, greeter, recorder}    what stands behind the mesh
//! wire, client                                        what stands in front of it
//! ```
//!
//! Shared by the tests and the demo, so nothing here asserts: what fails is an error for the caller to show.

pub mod admin;
pub mod ads;
pub mod agent;
pub mod binaries;
pub mod ca;
pub mod client;
pub mod config;
pub mod echo;
pub mod envoy;
pub mod footprint;
pub mod frames;
pub mod metrics;
pub mod process;
pub mod scratch;
pub mod secure;
pub mod serve;
pub mod tcp;
pub mod wire;
pub mod world;
