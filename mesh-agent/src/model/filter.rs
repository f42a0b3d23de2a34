//! Network filters: what a chain does with a connection's bytes.

use std::sync::Arc;
use std::time::Duration;

use crate::model::cluster::Http2Options;
use crate::model::extension::{Place, Router};
use crate::model::management::ConfigSource;
use crate::model::name::{ClusterName, RouteConfigName};
use crate::model::route::RouteConfig;
use crate::model::scope::ScopedRoutes;

/// The one terminal filter of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkFilter {
    /// `envoy.filters.network.http_connection_manager`.
    Http(Arc<HttpConnectionManager>),
    /// `envoy.filters.network.tcp_proxy`.
    Tcp(Arc<TcpProxy>),
}

/// Bytes to a cluster, unread (`envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpProxy {
    /// For metrics.
    pub stat_prefix: String,
    /// Never empty; the weights' sum is never zero.
    pub clusters: Vec<WeightedCluster>,
    /// The client's address chooses the endpoint, where the cluster chooses by hash (`hash_policy`, `source_ip`).
    pub by_client: bool,
    /// Closes a connection on which nothing moved for so long. Envoy's default: 1 h. `None`: never.
    pub idle_timeout: Option<Duration>,
}

/// How long a connection may be idle where nobody says: Envoy's default.
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// A cluster and its share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedCluster {
    /// Which one.
    pub name: ClusterName,
    /// Its share of the sum of all.
    pub weight: u32,
}

/// Where the routes of a connection manager are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteSource {
    /// `route_config`: right here.
    Inline(Arc<RouteConfig>),
    /// `rds`: they come as a resource of their own.
    Discovered(Rds),
    /// `scoped_routes`: a request's headers choose them.
    Scoped(Arc<ScopedRoutes>),
}

/// `HttpConnectionManager.rds`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rds {
    /// What the routes are asked for by.
    pub name: RouteConfigName,
    /// Who has them.
    pub source: ConfigSource,
}

/// HTTP in, HTTP out (`envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConnectionManager {
    /// For metrics.
    pub stat_prefix: String,
    /// Which HTTP the client speaks.
    pub codec: Codec,
    /// Where requests go.
    pub routes: RouteSource,
    /// Value of the `server` header. Envoy's default: `envoy`; ours: `bowline`.
    pub server_name: String,
    /// What becomes of the upstream's `server` header.
    pub server_header: ServerHeader,
    /// Appended to `via` on request and response, if set.
    pub via: Option<String>,
    /// Trust the connection's address, not `x-forwarded-for`; appends to the latter.
    pub use_remote_address: bool,
    /// Proxies in front of us whose `x-forwarded-for` entries are trusted.
    pub xff_num_trusted_hops: u32,
    /// Do not append to `x-forwarded-for`.
    pub skip_xff_append: bool,
    /// Make an `x-request-id` where there is none. Envoy's default: true.
    pub generate_request_id: bool,
    /// Keep an outside client's `x-request-id`.
    pub preserve_external_request_id: bool,
    /// Send `x-request-id` back.
    pub always_set_request_id_in_response: bool,
    /// Size of a request's head, in KiB. Envoy's default: 60.
    pub max_request_headers_kb: u32,
    /// Number of headers of a request. Envoy's default: 100.
    pub max_headers_count: u32,
    /// Longest life of a connection without a request. Envoy's default: 1 h. `None`: no limit.
    pub idle_timeout: Option<Duration>,
    /// Longest silence of a stream. Envoy's default: 5 min. `None`: no limit.
    pub stream_idle_timeout: Option<Duration>,
    /// Time for a whole request to arrive. `None` (Envoy's default): no limit.
    pub request_timeout: Option<Duration>,
    /// Time for a request's head to arrive. `None` (Envoy's default): no limit.
    pub request_headers_timeout: Option<Duration>,
    /// Protocols a client may upgrade to, in lower case (`websocket`).
    pub upgrades: Vec<String>,
    /// `normalize_path`: RFC 3986 dot segments are resolved before routing.
    pub normalize_path: bool,
    /// `merge_slashes`: `//` counts as `/`.
    pub merge_slashes: bool,
    /// `http_protocol_options.accept_http_10`.
    pub accept_http_10: bool,
    /// `http_protocol_options.enable_trailers`: HTTP/1 trailers are passed on. Envoy's default: they are dropped.
    pub http1_trailers: bool,
    /// The `on_demand` filter stands before the router: virtual hosts that are not there are asked for.
    pub on_demand: bool,
    /// The last of the HTTP filters.
    pub router: Place<Router>,
    /// `http2_protocol_options` of the client's side.
    pub http2: Http2Options,
}

/// `codec_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// By the connection's first bytes.
    #[default]
    Auto,
    /// HTTP/1.1 and, where allowed, HTTP/1.0.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// `server_header_transformation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerHeader {
    /// Always ours.
    #[default]
    Overwrite,
    /// Ours if the upstream sent none.
    AppendIfAbsent,
    /// The upstream's, if any.
    PassThrough,
}
