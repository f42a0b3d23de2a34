//! The messages of `envoy/service/status/v3/csds.proto`, as far as they are used.

use bytes::Bytes;

/// `ClientStatusRequest`. Matchers of nodes (1) are for servers that know more clients than themselves.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Request {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) node_matchers: Vec<Bytes>,
    #[prost(bool, tag = "3")]
    pub(super) exclude_resource_contents: bool,
}

/// `ClientStatusResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Response {
    #[prost(message, repeated, tag = "1")]
    pub(super) config: Vec<ClientConfig>,
}

/// `ClientConfig`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ClientConfig {
    /// An encoded `envoy.config.core.v3.Node`.
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) node: Bytes,
    #[prost(message, repeated, tag = "3")]
    pub(super) generic_xds_configs: Vec<GenericXdsConfig>,
}

/// `ClientConfig.GenericXdsConfig`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GenericXdsConfig {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(string, tag = "3")]
    pub(super) version_info: String,
    #[prost(message, optional, tag = "4")]
    pub(super) xds_config: Option<Any>,
    #[prost(message, optional, tag = "5")]
    pub(super) last_updated: Option<Timestamp>,
    #[prost(enumeration = "ClientStatus", tag = "7")]
    pub(super) client_status: i32,
    #[prost(message, optional, tag = "8")]
    pub(super) error_state: Option<UpdateFailureState>,
}

/// `envoy.admin.v3.ClientResourceStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum ClientStatus {
    Unknown = 0,
    Requested = 1,
    DoesNotExist = 2,
    Acked = 3,
    Nacked = 4,
}

/// `envoy.admin.v3.UpdateFailureState`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct UpdateFailureState {
    #[prost(message, optional, tag = "2")]
    pub(super) last_update_attempt: Option<Timestamp>,
    #[prost(string, tag = "3")]
    pub(super) details: String,
    #[prost(string, tag = "4")]
    pub(super) version_info: String,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}
