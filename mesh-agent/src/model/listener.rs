//! Listeners: at which address connections arrive, and what happens to each (`envoy.config.listener.v3.Listener`).

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::model::authz::Rules;
use crate::model::extension::{Asked, Place};
use crate::model::filter::NetworkFilter;
use crate::model::flow::Direction;
use crate::model::name::{ClusterName, ListenerName};

/// One listener as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Unique among listeners.
    pub name: ListenerName,
    /// Where it listens, or which original destination it stands for. An unspecified IP (`0.0.0.0`, `::`) stands for every one.
    pub address: SocketAddr,
    /// Whether a socket is bound. `false`: found by original destination only.
    pub bind: bool,
    /// `use_original_dst`: takes what no other listener of its direction claims.
    pub catch_all: bool,
    /// Whose connections it takes, when found by original destination.
    pub direction: Direction,
    /// Whether, and how, the protocol is detected from the first bytes before a chain is chosen.
    pub detect: Option<Detect>,
    /// First match wins.
    pub chains: Vec<FilterChain>,
    /// Taken when no chain matches. Without one, such a connection is closed.
    pub default_chain: Option<FilterChain>,
}

impl Listener {
    /// Every chain, the default one last.
    pub fn all_chains(&self) -> impl Iterator<Item = &FilterChain> {
        self.chains.iter().chain(&self.default_chain)
    }
}

/// A listener for UDP, which the kernel serves for workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpListener {
    /// Unique among all listeners.
    pub name: ListenerName,
    /// Where workloads send to. Never unspecified.
    pub address: SocketAddr,
    /// Where that goes.
    pub proxy: UdpProxy,
}

/// The `udp_proxy` listener filter (`envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpProxy {
    /// For metrics.
    pub stat_prefix: String,
    /// The client's address chooses the endpoint, where the cluster chooses by hash (`hash_policies`, `source_ip`).
    pub by_client: bool,
    /// Whose endpoints take the datagrams.
    pub cluster: ClusterName,
}

/// The `http_inspector` listener filter and its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detect {
    /// How long the client may stay silent.
    pub timeout: Duration,
    /// What a silent client gets: `true`, the connection is opaque; `false`, it is closed.
    pub continue_on_timeout: bool,
}

/// A chain of filters with the connections it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterChain {
    /// For logs; may be empty.
    pub name: String,
    /// Which connections it takes.
    pub matches: ChainMatch,
    /// Which of those may go on. All of these rules must let one through.
    pub authorization: Vec<Place<Rules>>,
    /// What it does with them.
    pub filter: NetworkFilter,
}

impl FilterChain {
    /// Filters that come by themselves.
    pub fn extensions(&self) -> impl Iterator<Item = Asked<'_>> {
        let router = match &self.filter {
            NetworkFilter::Http(http) => http.router.asked(),
            NetworkFilter::Tcp(_) => None,
        };
        self.authorization.iter().filter_map(Place::asked).chain(router)
    }
}

/// `FilterChainMatch`. Empty criteria match everything; the most specific chain wins in the order of the fields, as in Envoy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainMatch {
    /// Original destination's port.
    pub destination_port: Option<u16>,
    /// Original destination's address.
    pub destination: Vec<IpNet>,
    /// Detected protocols: `http/1.0`, `http/1.1`, `h2c`.
    pub application_protocols: Vec<String>,
    /// The client's address.
    pub source: Vec<IpNet>,
    /// The client's port.
    pub source_ports: Vec<u16>,
}
