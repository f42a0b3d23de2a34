//! HTTP: one downstream connection, whatever it speaks, to whatever the upstreams speak.
//!
//! ```text
//! h1::server ┐                                                                    ┌ h1::client (pooled)
//!            ├─ exchange: receive -> route -> endpoint -> link -> relay ──────────┤
//! h2::server ┘                    └ answer of our own                             └ h2::client (shared)
//! ```
//! Heads are [`head`] and [`fields`], bodies are [`body`]: both the same for every version. Envoy is the specification of what
//! changes on the way.

mod body;
mod exchange;
mod fields;
mod h1;
mod head;
mod headers;
mod local_reply;
mod name;
mod path;
mod session;
#[cfg(test)]
mod tests;
pub(super) mod thread;

use std::rc::Rc;
use std::sync::Arc;

use crate::proxy::connection::Connection;
pub(crate) use crate::proxy::http::body::StreamError;
use crate::proxy::http::session::Session;
use crate::proxy::worker::Worker;
use crate::snapshot::HttpChain;

/// Serves one downstream connection to its end.
pub(super) async fn serve(worker: &Rc<Worker>, connection: Connection, chain: &Arc<HttpChain>) {
    let Connection { stream, read_ahead, origin, listed } = connection;
    let mut session = Session::new(worker, chain, &origin, &Rc::new(listed));
    h1::server::serve(&mut session, stream, &read_ahead).await;
}
