//! Tests that need no root: the agent with `--no-kernel`, listeners that are bound, and servers beside it.

#[path = "direct/deadlines.rs"]
mod deadlines;
#[path = "direct/exchange.rs"]
mod exchange;
#[path = "direct/life.rs"]
mod life;
#[path = "direct/limits.rs"]
mod limits;
#[path = "direct/malformed.rs"]
mod malformed;
#[path = "direct/malformed_http2.rs"]
mod malformed_http2;
#[path = "direct/opaque.rs"]
mod opaque;
#[path = "direct/proxy.rs"]
mod proxy;
#[path = "direct/routes.rs"]
mod routes;
#[path = "direct/stream.rs"]
mod stream;
#[path = "direct/tls.rs"]
mod tls;
#[path = "direct/tls_peers.rs"]
mod tls_peers;
#[path = "direct/upgrade.rs"]
mod upgrade;
