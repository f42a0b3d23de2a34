//! The agent before one echo server: what most tests of this file stand on.

use std::net::SocketAddr;

use harness::agent::{Agent, Options};
use harness::client::{Client, Version};
use harness::config::{all_to, bootstrap, cluster, http_with, http2_cluster, listener, own_address};
use harness::echo::HttpServer;
use harness::wire::{Response, Wire};
use serde_json::{Value, json};

/// An agent with one HTTP listener, and what is behind it.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) agent: Agent,
    pub(crate) address: SocketAddr,
    pub(crate) upstream: HttpServer,
}

impl Proxy {
    /// Everything to one server over HTTP/1.1.
    pub(crate) fn start() -> anyhow::Result<Self> {
        Self::with(Version::Http1, all_to("echo"), json!({}))
    }

    /// By these routes, of which `echo` is the one cluster; with more fields of the connection manager.
    pub(crate) fn with(upstream_version: Version, routes: Value, fields: Value) -> anyhow::Result<Self> {
        let upstream = HttpServer::local("echo")?;
        let cluster = match upstream_version {
            Version::Http1 => cluster("echo", &[upstream.address()]),
            Version::Http2 => http2_cluster("echo", &[upstream.address()]),
        };
        let (agent, address) = http_agent(routes, fields, &[cluster])?;
        Ok(Self { agent, address, upstream })
    }

    /// A client whose bytes are its own.
    pub(crate) fn wire(&self) -> anyhow::Result<Wire> {
        Ok(Wire::connect(self.address)?)
    }

    /// Sends a request on a new connection and returns the response.
    pub(crate) fn ask(&self, request: &str) -> anyhow::Result<Response> {
        let mut wire = self.wire()?;
        wire.send(request)?;
        wire.response()
    }

    /// A client that speaks well-formed HTTP.
    pub(crate) async fn client(&self, version: Version) -> anyhow::Result<Client> {
        Client::connect(self.address, version).await
    }
}

/// An agent with one HTTP listener before these clusters, and where it listens.
pub(crate) fn http_agent(routes: Value, fields: Value, clusters: &[Value]) -> anyhow::Result<(Agent, SocketAddr)> {
    let address = own_address(10000);
    let listener = listener(address, http_with(routes, fields));
    Ok((Options::no_kernel().start(bootstrap(&[listener], clusters))?, address))
}

/// All four ways through: what the client speaks, what the upstream speaks.
pub(crate) const WAYS: [(Version, Version); 4] = [
    (Version::Http1, Version::Http1),
    (Version::Http1, Version::Http2),
    (Version::Http2, Version::Http1),
    (Version::Http2, Version::Http2),
];
