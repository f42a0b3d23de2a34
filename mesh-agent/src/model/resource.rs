//! The kinds of resources a management server sends, the type URLs that name them, and resources once they are decoded.
//!
//! How a resource is decoded is [`crate::decode`]'s, how it is asked for the protocol's. Kinds that can't be decoded yet are named
//! all the same, so that refusing one says what it is.

use std::fmt;
use std::sync::Arc;

use crate::model::cluster::{Assignment, Cluster};
use crate::model::extension::Extension as Filter;
use crate::model::listener::{Listener, UdpListener};
use crate::model::route::{RouteConfig, VirtualHost};
use crate::model::scope::Scope;
use crate::model::tls::Secret;

/// A kind of resource. In the order in which kinds are asked for and go live: what is referred to before what refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceKind {
    /// `envoy.config.cluster.v3.Cluster` (CDS).
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment` (EDS).
    Endpoints,
    /// `envoy.extensions.transport_sockets.tls.v3.Secret` (SDS).
    Secret,
    /// `envoy.config.core.v3.TypedExtensionConfig` (ECDS).
    Extension,
    /// `envoy.config.listener.v3.Listener` (LDS).
    Listener,
    /// `envoy.config.route.v3.ScopedRouteConfiguration` (SRDS).
    ScopedRoute,
    /// `envoy.config.route.v3.RouteConfiguration` (RDS).
    Route,
    /// `envoy.config.route.v3.VirtualHost` (VHDS).
    VirtualHost,
}

impl ResourceKind {
    /// Every kind, in order.
    pub const ALL: [Self; 8] = [
        Self::Cluster,
        Self::Endpoints,
        Self::Secret,
        Self::Extension,
        Self::Listener,
        Self::ScopedRoute,
        Self::Route,
        Self::VirtualHost,
    ];

    /// The message's full name.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Cluster => "envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Secret => "envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Extension => "envoy.config.core.v3.TypedExtensionConfig",
            Self::Listener => "envoy.config.listener.v3.Listener",
            Self::ScopedRoute => "envoy.config.route.v3.ScopedRouteConfiguration",
            Self::Route => "envoy.config.route.v3.RouteConfiguration",
            Self::VirtualHost => "envoy.config.route.v3.VirtualHost",
        }
    }

    /// What the protocol calls it: `type.googleapis.com/` and the message's name.
    #[must_use]
    pub fn type_url(self) -> String {
        format!("{TYPE_URL}{}", self.message())
    }

    /// The kind of a type URL.
    #[must_use]
    pub fn of_type_url(url: &str) -> Option<Self> {
        let message = url.strip_prefix(TYPE_URL)?;
        Self::ALL.into_iter().find(|kind| kind.message() == message)
    }

    /// What people call one such resource.
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Endpoints => "endpoints",
            Self::Secret => "secret",
            Self::Extension => "extension",
            Self::Listener => "listener",
            Self::ScopedRoute => "scoped routes",
            Self::Route => "route configuration",
            Self::VirtualHost => "virtual host",
        }
    }

    /// The discovery service's short name, as people and metrics know it.
    #[must_use]
    pub const fn service(self) -> &'static str {
        match self {
            Self::Cluster => "CDS",
            Self::Endpoints => "EDS",
            Self::Secret => "SDS",
            Self::Extension => "ECDS",
            Self::Listener => "LDS",
            Self::ScopedRoute => "SRDS",
            Self::Route => "RDS",
            Self::VirtualHost => "VHDS",
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.service())
    }
}

/// A resource that makes sense by itself. What it refers to may not be there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// See [`ResourceKind::Cluster`].
    Cluster(Arc<Cluster>),
    /// See [`ResourceKind::Endpoints`].
    Endpoints(Arc<Assignment>),
    /// See [`ResourceKind::Secret`].
    Secret(Arc<Secret>),
    /// See [`ResourceKind::Listener`].
    Listener(Arc<Listener>),
    /// See [`ResourceKind::Listener`]: one for UDP.
    UdpListener(Arc<UdpListener>),
    /// See [`ResourceKind::Route`].
    Route(Arc<RouteConfig>),
    /// See [`ResourceKind::Extension`].
    Extension(Arc<Filter>),
    /// See [`ResourceKind::ScopedRoute`].
    Scope(Arc<Scope>),
    /// See [`ResourceKind::VirtualHost`]. It is asked for by another name than its own: that of its routes, a slash, and the host.
    VirtualHost(Arc<VirtualHost>),
}

impl Resource {
    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> ResourceKind {
        match self {
            Self::Cluster(_) => ResourceKind::Cluster,
            Self::Endpoints(_) => ResourceKind::Endpoints,
            Self::Secret(_) => ResourceKind::Secret,
            Self::Listener(_) | Self::UdpListener(_) => ResourceKind::Listener,
            Self::Route(_) => ResourceKind::Route,
            Self::Extension(_) => ResourceKind::Extension,
            Self::Scope(_) => ResourceKind::ScopedRoute,
            Self::VirtualHost(_) => ResourceKind::VirtualHost,
        }
    }

    /// Its name, unique within its kind.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Cluster(cluster) => cluster.name.as_str(),
            Self::Endpoints(assignment) => &assignment.name,
            Self::Secret(secret) => &secret.name,
            Self::Listener(listener) => listener.name.as_str(),
            Self::UdpListener(listener) => listener.name.as_str(),
            Self::Route(routes) => routes.name.as_str(),
            Self::Extension(filter) => &filter.name,
            Self::Scope(scope) => &scope.name,
            Self::VirtualHost(host) => &host.name,
        }
    }
}

/// What a file of resources says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents<R> {
    /// `version_info`.
    pub version: String,
    /// What it holds, in order.
    pub resources: Vec<Entry<R>>,
}

/// One resource of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<R> {
    /// Its name, if it can be read.
    pub name: Option<Arc<str>>,
    /// The resource, or a line that says what is wrong with it and where.
    pub resource: Result<R, String>,
}

const TYPE_URL: &str = "type.googleapis.com/";

#[cfg(test)]
mod tests {
    use super::ResourceKind;

    #[test]
    fn a_type_url_names_its_kind() {
        for kind in ResourceKind::ALL {
            assert_eq!(ResourceKind::of_type_url(&kind.type_url()), Some(kind));
        }
        let others =
            ["", "type.googleapis.com/", "envoy.config.cluster.v3.Cluster", "type.googleapis.com/envoy.Runtime"];
        assert!(others.iter().all(|url| ResourceKind::of_type_url(url).is_none()));
    }
}
