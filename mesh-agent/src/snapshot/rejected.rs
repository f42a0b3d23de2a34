//! Why a resource that makes sense by itself does not fit among the others.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::name::{ClusterName, ListenerName, RouteConfigName};
use crate::model::resource::ResourceKind;
use crate::route::CompileError;

/// Why a resource is not in the snapshot that was built; what it had been before still is. Its siblings are.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It names a cluster that does not exist, and none will come.
    #[error("listener {listener}: there is no cluster {cluster}")]
    NoSuchCluster {
        /// The listener that was left out.
        listener: ListenerName,
        /// The missing one.
        cluster: ClusterName,
    },
    /// Its routes contradict each other.
    #[error("listener {listener}: {source}")]
    Routes {
        /// The listener that was left out.
        listener: ListenerName,
        /// What is wrong.
        source: CompileError,
    },
    /// It contradicts itself.
    #[error("route configuration {name}: {source}")]
    RouteConfig {
        /// The one that was left out.
        name: RouteConfigName,
        /// What is wrong.
        source: CompileError,
    },
    /// Another listener of its direction has the same address.
    #[error("listener {listener}: {address} is taken by listener {by}")]
    AddressTaken {
        /// The listener that was left out.
        listener: ListenerName,
        /// The address both want.
        address: SocketAddr,
        /// Who has it.
        by: ListenerName,
    },
    /// Another cluster has a secret of that name from another source.
    #[error("cluster {cluster}: secret {secret:?} comes from another source already, for another cluster")]
    SecretElsewhere {
        /// The cluster that was left out.
        cluster: ClusterName,
        /// The secret.
        secret: Arc<str>,
    },
    /// It asks for a secret that is there and that it could not use.
    #[error("cluster {cluster}: secret {secret:?} does not fit: the cluster {what}")]
    SecretUse {
        /// The cluster that was left out.
        cluster: ClusterName,
        /// The secret.
        secret: Arc<str>,
        /// What it does that the secret is not for.
        what: &'static str,
    },
    /// Who asks for it could not use it.
    #[error("secret {name:?}: {what}")]
    Secret {
        /// The secret that was left out.
        name: Arc<str>,
        /// What is wrong with it.
        what: String,
    },
    /// It is for UDP, which has no TLS.
    #[error("listener {listener}: cluster {cluster} wants TLS, which UDP does not have")]
    UdpTls {
        /// The listener that was left out.
        listener: ListenerName,
        /// The cluster.
        cluster: ClusterName,
    },
    /// It is for UDP, and its datagrams would have to change from IPv4 to IPv6 or back.
    #[error("listener {listener}: UDP cannot be sent on to {endpoint}, which is of the other address family")]
    Family {
        /// The listener that was left out.
        listener: ListenerName,
        /// The endpoint.
        endpoint: SocketAddr,
    },
    /// It is a filter that does not fit where a listener asks for it.
    #[error("extension {name}: {found} does not fit in listener {listener}, which takes {fits}")]
    ExtensionType {
        /// The one that was left out.
        name: Arc<str>,
        /// Its type.
        found: &'static str,
        /// Who asks for it.
        listener: ListenerName,
        /// The type that would fit.
        fits: &'static str,
    },
    /// Its endpoints come from another source than another cluster's of the same name.
    #[error(
        "cluster {cluster}: another cluster has endpoints {endpoints} from another source; write another service_name"
    )]
    EndpointsElsewhere {
        /// The cluster that was left out.
        cluster: ClusterName,
        /// The endpoints' name.
        endpoints: Arc<str>,
    },
    /// What it asks for by name comes from another source elsewhere.
    #[error("listener {listener}: {} {name} is wanted from two sources", kind.noun())]
    TwoSources {
        /// The listener that was left out.
        listener: ListenerName,
        /// What it asks for.
        kind: ResourceKind,
        /// Its name.
        name: Arc<str>,
    },
    /// One name stands for filters of two types.
    #[error(
        "listener {listener}: extension {extension} is to be {wanted} there, and is {other} elsewhere; write another name"
    )]
    TwoTypes {
        /// The listener that was left out.
        listener: ListenerName,
        /// The name.
        extension: Arc<str>,
        /// The type that its place takes.
        wanted: &'static str,
        /// The type that the name stands for already.
        other: &'static str,
    },
    /// It is a scope, and another has its key.
    #[error("scope key conflict found, first scope is '{by}', second scope is '{name}'")]
    ScopeKey {
        /// The one that was left out.
        name: Arc<str>,
        /// Who has the key.
        by: Arc<str>,
    },
    /// It is a scope, and its routes come from another source elsewhere.
    #[error("scope {name}: route configuration {routes} is wanted from two sources")]
    ScopeElsewhere {
        /// The one that was left out.
        name: Arc<str>,
        /// Its routes.
        routes: RouteConfigName,
    },
    /// It is a virtual host that contradicts itself or others of its route configuration.
    #[error("virtual host {name}: {source}")]
    VirtualHost {
        /// The one that was left out.
        name: Arc<str>,
        /// What is wrong.
        source: CompileError,
    },
    /// The weights of its clusters do not fit.
    #[error("listener {listener}: the cluster weights sum to zero or overflow")]
    Weights {
        /// The listener that was left out.
        listener: ListenerName,
    },
}

impl Rejected {
    /// Which resource was left out.
    #[must_use]
    pub fn resource(&self) -> (ResourceKind, &str) {
        match self {
            Self::RouteConfig { name, .. } => (ResourceKind::Route, name.as_str()),
            Self::ExtensionType { name, .. } => (ResourceKind::Extension, name),
            Self::ScopeKey { name, .. } | Self::ScopeElsewhere { name, .. } => (ResourceKind::ScopedRoute, name),
            Self::EndpointsElsewhere { cluster, .. }
            | Self::SecretElsewhere { cluster, .. }
            | Self::SecretUse { cluster, .. } => (ResourceKind::Cluster, cluster.as_str()),
            Self::Secret { name, .. } => (ResourceKind::Secret, name),
            Self::VirtualHost { name, .. } => (ResourceKind::VirtualHost, name),
            Self::NoSuchCluster { listener, .. }
            | Self::TwoSources { listener, .. }
            | Self::TwoTypes { listener, .. }
            | Self::Routes { listener, .. }
            | Self::AddressTaken { listener, .. }
            | Self::Family { listener, .. }
            | Self::UdpTls { listener, .. }
            | Self::Weights { listener } => (ResourceKind::Listener, listener.as_str()),
        }
    }
}
