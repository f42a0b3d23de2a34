//! Clusters: groups of endpoints that answer alike, and how to reach them (`envoy.config.cluster.v3.Cluster`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::name::ClusterName;

/// One cluster as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Unique among clusters.
    pub name: ClusterName,
    /// Where the endpoints come from.
    pub discovery: Discovery,
    /// Most time a TCP connection to an endpoint may take. Envoy's default: 5 s.
    pub connect_timeout: Duration,
    /// What is spoken to the endpoints.
    pub protocol: UpstreamProtocol,
    /// How an endpoint is chosen.
    pub balance: BalancePolicy,
}

/// `Cluster.type`, with what belongs to each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// `STATIC`: addresses as written.
    Static(Vec<Endpoint>),
    /// `STRICT_DNS`: every address of every name is an endpoint.
    StrictDns {
        /// Names to resolve.
        hosts: Vec<DnsHost>,
        /// Time between two look-ups. Envoy's default: 5 s.
        refresh: Duration,
        /// Which addresses count.
        family: DnsFamily,
    },
}

/// Endpoints that came by themselves (`envoy.config.endpoint.v3.ClusterLoadAssignment`, by EDS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// What clusters call it: the name of a cluster, or another that one gives (`service_name`).
    pub name: Arc<str>,
    /// In the order of the message.
    pub endpoints: Vec<Endpoint>,
}

/// One address of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Share of the load, relative to its siblings; never zero.
    pub weight: u32,
    /// The name the address was resolved from, for `auto_host_rewrite`.
    pub hostname: Option<String>,
}

/// A name that stands for endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsHost {
    /// Name to resolve, or an address as text.
    pub host: String,
    /// Port of every endpoint behind the name.
    pub port: u16,
    /// Weight of each of them.
    pub weight: u32,
}

/// `Cluster.dns_lookup_family`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DnsFamily {
    /// IPv6 addresses if there are any, else IPv4: Envoy's default.
    #[default]
    Auto,
    /// A records only.
    V4Only,
    /// AAAA records only.
    V6Only,
    /// IPv4 addresses if there are any, else IPv6.
    V4Preferred,
    /// Both.
    All,
}

/// What the endpoints of a cluster speak (`HttpProtocolOptions`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1, Envoy's default.
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2(Http2Options),
    /// Whatever the client spoke (`use_downstream_protocol_config`).
    Downstream(Http2Options),
}

/// `Http2ProtocolOptions`, as far as it is supported. `None` is Envoy's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Http2Options {
    /// Streams a peer may have open at once on one connection.
    pub max_concurrent_streams: Option<u32>,
    /// Bytes a peer may send on a stream before it must wait.
    pub initial_stream_window_size: Option<u32>,
    /// Bytes a peer may send on a connection before it must wait.
    pub initial_connection_window_size: Option<u32>,
}

/// `Cluster.lb_policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BalancePolicy {
    /// In turn, by weight.
    #[default]
    RoundRobin,
}
