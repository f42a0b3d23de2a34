//! Clusters: groups of endpoints that answer alike, and how to reach them (`envoy.config.cluster.v3.Cluster`).

use std::sync::Arc;
use std::time::Duration;

use crate::model::endpoint::{DnsHost, Endpoint, Roster};
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
    /// Percent of its endpoints that must be available, or a priority level's health is disregarded. Envoy's default: 50; 0: never.
    pub panic_threshold: u32,
    /// Localities have weights (`locality_weighted_lb_config`).
    pub weighs_localities: bool,
}

/// `Cluster.type`, with what belongs to each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// `STATIC`: addresses as written.
    Static(Roster<Endpoint>),
    /// `STRICT_DNS`: every address of every name is an endpoint.
    StrictDns {
        /// Names to resolve.
        hosts: Roster<DnsHost>,
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
    /// What they get by it.
    pub roster: Roster<Endpoint>,
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

/// Percent of a priority level's endpoints that must be available, where nobody says: Envoy's default.
pub const DEFAULT_PANIC_THRESHOLD: u32 = 50;

/// `Cluster.lb_policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BalancePolicy {
    /// In turn, by weight.
    #[default]
    RoundRobin,
}
