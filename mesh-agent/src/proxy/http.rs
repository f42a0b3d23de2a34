//! HTTP: one downstream connection, whatever it speaks, to whatever the upstreams speak.

use std::rc::Rc;
use std::sync::Arc;

use crate::proxy::connection::Connection;
use crate::proxy::worker::Worker;
use crate::snapshot::HttpChain;

/// Serves one downstream connection to its end.
pub(crate) async fn serve(_worker: &Rc<Worker>, _connection: Connection, _chain: &Arc<HttpChain>) {}
