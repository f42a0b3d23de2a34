//! Scoped routes: a request's headers make a key, and the key chooses a route configuration
//! (`envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes`).

use std::sync::Arc;

use crate::model::management::ConfigSource;
use crate::model::name::RouteConfigName;

/// `ScopedRoutes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopedRoutes {
    /// For people.
    pub name: String,
    /// How a key is made of a request: a fragment by each. Never empty.
    pub key: Vec<Extractor>,
    /// The scopes.
    pub scopes: Scopes,
    /// Who has the route configurations.
    pub routes: ConfigSource,
}

/// Where the scopes of a connection manager are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scopes {
    /// `scoped_route_configurations_list`. No two have the same name or key.
    Inline(Vec<Arc<Scope>>),
    /// `scoped_rds`: all that there are, by themselves.
    Discovered(ConfigSource),
}

/// `envoy.config.route.v3.ScopedRouteConfiguration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Its name.
    pub name: Arc<str>,
    /// The routes of requests in it.
    pub routes: RouteConfigName,
    /// Which requests those are.
    pub key: ScopeKey,
    /// The routes need not be there before somebody needs them.
    pub on_demand: bool,
}

/// `ScopedRouteConfiguration.Key`: its fragments, in order.
pub type ScopeKey = Box<[Box<str>]>;

/// `HeaderValueExtractor`: how a fragment is made of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extractor {
    /// Whose first value it is made of; in lower case, or a pseudo-header.
    pub header: String,
    /// What stands between elements of that value; if empty, it is one element.
    pub separator: String,
    /// Which of them.
    pub pick: Pick,
}

/// Which element of a header's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// That one, counted from 0.
    Index(usize),
    /// What follows `separator` in the first one with that key before it.
    Element {
        /// Between key and value.
        separator: String,
        /// The key.
        key: String,
    },
}
