//! Clusters: groups of endpoints that answer alike, and how to reach them (`envoy.config.cluster.v3.Cluster`).

use std::sync::Arc;
use std::time::Duration;

use crate::model::endpoint::{DnsHost, Endpoint, Roster};
use crate::model::management::ConfigSource;
use crate::model::name::ClusterName;
use crate::model::tls::UpstreamTls;

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
    /// How TLS is spoken to them, if it is.
    pub tls: Option<Box<UpstreamTls>>,
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
    /// `EDS`: they come as a resource of their own.
    Eds(Eds),
}

/// `Cluster.eds_cluster_config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eds {
    /// What the endpoints are asked for by: the cluster's name, if no other is given.
    pub service: Arc<str>,
    /// Who has them.
    pub source: ConfigSource,
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
    /// By a hash of the client, where a filter has one; else at random.
    Maglev {
        /// How finely shares and clients are told apart.
        size: TableSize,
        /// Endpoints are known by their names, not by their addresses.
        by_hostname: bool,
    },
}

/// How many slots a table has: a prime, so that every endpoint's order of slots comes to all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSize(u32);

impl TableSize {
    /// The largest that Envoy takes.
    pub const MOST: u32 = 5_000_011;

    /// `None` if it is no prime, or too large.
    #[must_use]
    pub fn new(size: u64) -> Option<Self> {
        let size = u32::try_from(size).ok().filter(|size| (2..=Self::MOST).contains(size))?;
        let is_prime = (2..).take_while(|n| n * n <= size).all(|n| !size.is_multiple_of(n));
        is_prime.then_some(Self(size))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

/// Envoy's.
impl Default for TableSize {
    fn default() -> Self {
        Self(65537)
    }
}

#[cfg(test)]
mod tests {
    use super::TableSize;

    #[test]
    fn tables_have_a_prime_size() {
        let taken = [0, 1, 2, 4, 7, 1020, 1021, 65536, 65537, 5_000_011, 5_000_012, 1 << 40].map(|size| {
            let taken = TableSize::new(size)?;
            assert_eq!(u64::from(taken.get()), size);
            Some(size)
        });
        assert_eq!(taken.into_iter().flatten().collect::<Vec<_>>(), [2, 7, 1021, 65537, 5_000_011]);
        assert_eq!(Some(TableSize::default()), TableSize::new(65537));
    }
}
