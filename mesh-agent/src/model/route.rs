//! Route configurations: which request goes where (`envoy.config.route.v3.RouteConfiguration`).

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use crate::model::filter::WeightedCluster;
use crate::model::management::ConfigSource;
use crate::model::matcher::{FullRegex, StringMatch};
use crate::model::name::{ClusterName, RouteConfigName};

/// A table of virtual hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    /// Name; may be empty inside a listener.
    pub name: RouteConfigName,
    /// Each domain stands in at most one of them.
    pub virtual_hosts: Vec<VirtualHost>,
    /// `vhds`: who has more of them, each asked for when a request needs it.
    pub vhds: Option<ConfigSource>,
}

impl RouteConfig {
    /// Every cluster that a route goes to; one may come more than once.
    pub fn clusters(&self) -> impl Iterator<Item = &ClusterName> {
        self.virtual_hosts.iter().flat_map(VirtualHost::clusters)
    }
}

/// Routes for some values of `:authority`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualHost {
    /// For metrics and logs.
    pub name: String,
    /// Never empty, in lower case.
    pub domains: Vec<Domain>,
    /// First match wins.
    pub routes: Vec<Route>,
}

impl VirtualHost {
    /// Every cluster that a route goes to; one may come more than once.
    pub fn clusters(&self) -> impl Iterator<Item = &ClusterName> {
        let clusters = self.routes.iter().flat_map(|route| match &route.action {
            Action::Forward(forward) => forward.clusters.as_slice(),
            Action::Redirect(_) | Action::Respond(_) => &[],
        });
        clusters.map(|cluster| &cluster.name)
    }
}

/// One entry of `VirtualHost.domains`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Domain {
    /// `www.example.com`, with or without a port.
    Exact(String),
    /// `*.example.com`: what follows the star.
    Suffix(String),
    /// `www.example.*`: what precedes the star.
    Prefix(String),
    /// `*`.
    Any,
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// A match and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// For logs; may be empty.
    pub name: String,
    /// Which requests.
    pub matches: RouteMatch,
    /// What happens to them.
    pub action: Action,
}

/// All criteria must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch {
    /// Compared with the path without query.
    pub path: PathMatch,
    /// ASCII case of the path counts. Envoy's default: true.
    pub case_sensitive: bool,
    /// On request headers and pseudo-headers.
    pub headers: Vec<HeaderMatch>,
    /// On query parameters.
    pub query: Vec<QueryMatch>,
    /// Only requests with a gRPC content type.
    pub grpc: bool,
}

/// `RouteMatch.path_specifier`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// `prefix`.
    Prefix(String),
    /// `path`.
    Exact(String),
    /// `path_separated_prefix`: the prefix, then the end or a slash.
    SeparatedPrefix(String),
    /// `safe_regex`.
    Regex(FullRegex),
}

/// `HeaderMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    /// In lower case; may be a pseudo-header (`:method`, `:path`, `:authority`, `:scheme`).
    pub name: String,
    /// What must hold of its value (of any one of them, if there are several).
    pub test: ValueTest,
    /// The test's answer is turned round.
    pub invert: bool,
    /// A missing header counts as an empty one.
    pub missing_as_empty: bool,
}

/// `QueryParameterMatcher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryMatch {
    /// Name of the parameter.
    pub name: String,
    /// What must hold of its first value.
    pub test: ValueTest,
}

/// What a header or a query parameter is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueTest {
    /// Is there, or is not.
    Present(bool),
    /// Has such a text.
    Text(StringMatch),
    /// Is an integer of `[start, end)`.
    Range {
        /// First that matches.
        start: i64,
        /// First that no longer does.
        end: i64,
    },
}

/// `Route.action`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `route`: to a cluster.
    Forward(Forward),
    /// `redirect`.
    Redirect(Redirect),
    /// `direct_response`.
    Respond(DirectResponse),
}

/// `RouteAction`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Never empty; the weights' sum is never zero.
    pub clusters: Vec<WeightedCluster>,
    /// Time for the whole exchange. Envoy's default: 15 s. `None`: no limit.
    pub timeout: Option<Duration>,
    /// Longest silence of the stream, over the connection manager's.
    pub idle_timeout: IdleTimeout,
    /// `Host`/`:authority` toward the upstream.
    pub host: HostRewrite,
    /// Path toward the upstream.
    pub path: PathRewrite,
    /// Upgrades allowed or forbidden for this route, over the connection manager's.
    pub upgrades: Vec<(String, bool)>,
    /// Status when the cluster does not exist (`cluster_not_found_response_code`). Envoy's default: 503.
    pub cluster_not_found: StatusCode,
}

/// `RouteAction.idle_timeout`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdleTimeout {
    /// Not set: the connection manager's `stream_idle_timeout`.
    #[default]
    Inherit,
    /// `0s`: no limit, whatever the connection manager says.
    Never,
    /// This one.
    After(Duration),
}

/// `RouteAction.host_rewrite_specifier`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostRewrite {
    /// As the client sent it.
    #[default]
    Keep,
    /// `host_rewrite_literal`.
    Literal(String),
    /// `auto_host_rewrite`: the endpoint's DNS name.
    Auto,
    /// `host_rewrite_header`: the value of that request header, if any.
    Header(String),
}

/// `RouteAction`'s path rewrites.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PathRewrite {
    /// As the client sent it.
    #[default]
    Keep,
    /// `prefix_rewrite`: the matched prefix or path gives way to this.
    Prefix(String),
}

/// `RedirectAction`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Status of the answer. Envoy's default: 301.
    pub status: StatusCode,
    /// Scheme of the new location.
    pub scheme: RedirectScheme,
    /// Host of the new location.
    pub host: Option<String>,
    /// Port of the new location.
    pub port: Option<u16>,
    /// Path of the new location.
    pub path: RedirectPath,
    /// Leave the query out.
    pub strip_query: bool,
}

/// `RedirectAction.scheme_rewrite_specifier`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RedirectScheme {
    /// As the request came.
    #[default]
    Keep,
    /// `https_redirect`.
    Https,
    /// `scheme_redirect`.
    Literal(String),
}

/// `RedirectAction.path_rewrite_specifier`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RedirectPath {
    /// As the request came.
    #[default]
    Keep,
    /// `path_redirect`: this instead, with its own query if it has one.
    Replace(String),
    /// `prefix_rewrite`: the matched prefix gives way to this.
    Prefix(String),
}

/// `DirectResponseAction`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectResponse {
    /// Status of the answer.
    pub status: StatusCode,
    /// Body of the answer; may be empty.
    pub body: Bytes,
}
