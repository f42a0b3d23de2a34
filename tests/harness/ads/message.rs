//! The messages of the discovery protocol, as a server sees them.

use std::collections::HashMap;

use bytes::Bytes;

/// Type URLs.
pub const CDS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
/// See [`CDS`].
pub const EDS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
/// See [`CDS`].
pub const LDS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
/// See [`CDS`].
pub const RDS: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
/// See [`CDS`].
pub const ECDS: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";
/// See [`CDS`].
pub const SRDS: &str = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration";
/// See [`CDS`].
pub const SDS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
/// See [`CDS`].
pub const VHDS: &str = "type.googleapis.com/envoy.config.route.v3.VirtualHost";

/// `DiscoveryRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// Last version that was accepted.
    #[prost(string, tag = "1")]
    pub version: String,
    /// Who asks.
    #[prost(message, optional, tag = "2")]
    pub node: Option<Node>,
    /// All that is wanted.
    #[prost(string, repeated, tag = "3")]
    pub names: Vec<String>,
    /// Of what.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// Of the response that is answered.
    #[prost(string, tag = "5")]
    pub nonce: String,
    /// Why that was refused.
    #[prost(message, optional, tag = "6")]
    pub error: Option<Status>,
}

/// `DiscoveryResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    /// Version of all.
    #[prost(string, tag = "1")]
    pub version: String,
    /// Resources.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Any>,
    /// Of what.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// To be answered with.
    #[prost(string, tag = "5")]
    pub nonce: String,
}

/// `DeltaDiscoveryRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeltaRequest {
    /// Who asks.
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    /// Of what.
    #[prost(string, tag = "2")]
    pub type_url: String,
    /// What more is wanted.
    #[prost(string, repeated, tag = "3")]
    pub subscribe: Vec<String>,
    /// What is wanted no longer.
    #[prost(string, repeated, tag = "4")]
    pub unsubscribe: Vec<String>,
    /// What the client has.
    #[prost(map = "string, string", tag = "5")]
    pub initial: HashMap<String, String>,
    /// Of the response that is answered.
    #[prost(string, tag = "6")]
    pub nonce: String,
    /// Why that was refused.
    #[prost(message, optional, tag = "7")]
    pub error: Option<Status>,
}

/// `DeltaDiscoveryResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeltaResponse {
    /// For people.
    #[prost(string, tag = "1")]
    pub version: String,
    /// Resources.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Resource>,
    /// Of what.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// To be answered with.
    #[prost(string, tag = "5")]
    pub nonce: String,
    /// What is gone.
    #[prost(string, repeated, tag = "6")]
    pub removed: Vec<String>,
}

/// `Resource`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Resource {
    /// Its own version.
    #[prost(string, tag = "1")]
    pub version: String,
    /// Itself.
    #[prost(message, optional, tag = "2")]
    pub resource: Option<Any>,
    /// Its name.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Names it may have been asked for by.
    #[prost(string, repeated, tag = "4")]
    pub aliases: Vec<String>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Any {
    /// Of what.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// Itself.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Status {
    /// Code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// What is wrong.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// `envoy.config.core.v3.Node`, the part tests look at.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Node {
    /// Node id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its cluster.
    #[prost(string, tag = "2")]
    pub cluster: String,
    /// Where it runs.
    #[prost(message, optional, tag = "4")]
    pub locality: Option<Locality>,
    /// What it is.
    #[prost(string, tag = "6")]
    pub user_agent_name: String,
    /// Which version.
    #[prost(string, tag = "7")]
    pub user_agent_version: String,
    /// What it can do.
    #[prost(string, repeated, tag = "10")]
    pub client_features: Vec<String>,
}

/// `envoy.config.core.v3.Locality`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Locality {
    /// Region.
    #[prost(string, tag = "1")]
    pub region: String,
    /// Zone.
    #[prost(string, tag = "2")]
    pub zone: String,
    /// Part of it.
    #[prost(string, tag = "3")]
    pub sub_zone: String,
}
