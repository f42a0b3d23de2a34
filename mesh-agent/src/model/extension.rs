//! Filters that come by themselves (ECDS): a place in a listener names one, and a management server has it.
//!
//! Each place takes one type of filter, so a place is typed: what is said of a type that does not fit is said where both are known.

use std::sync::Arc;

use crate::model::authz::Rules;
use crate::model::management::ConfigSource;

/// `envoy.config.core.v3.TypedExtensionConfig`: a filter by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// What it is asked for by.
    pub name: Arc<str>,
    /// What it is.
    pub filter: Filter,
}

/// A filter that may come by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Ends the filters of HTTP.
    Router(Router),
    /// Says which connections may go on.
    Rules(Rules),
}

impl Filter {
    /// The full name of its message.
    #[must_use]
    pub const fn message(&self) -> &'static str {
        match self {
            Self::Router(_) => Router::MESSAGE,
            Self::Rules(_) => Rules::MESSAGE,
        }
    }
}

/// `envoy.extensions.filters.http.router.v3.Router`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Router {
    /// No `x-envoy-*` headers are added.
    pub suppress_envoy_headers: bool,
}

/// What can stand in a place for filters.
pub trait Placed: Clone {
    /// The full name of its message.
    const MESSAGE: &'static str;

    /// This one, if `filter` is of that type.
    fn of(filter: &Filter) -> Option<&Self>;
}

impl Placed for Router {
    const MESSAGE: &'static str = "envoy.extensions.filters.http.router.v3.Router";

    fn of(filter: &Filter) -> Option<&Self> {
        match filter {
            Filter::Router(router) => Some(router),
            Filter::Rules(_) => None,
        }
    }
}

impl Placed for Rules {
    const MESSAGE: &'static str = "envoy.extensions.filters.network.rbac.v3.RBAC";

    fn of(filter: &Filter) -> Option<&Self> {
        match filter {
            Filter::Rules(rules) => Some(rules),
            Filter::Router(_) => None,
        }
    }
}

/// A place for a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place<F> {
    /// The filter stands in it.
    Fixed(F),
    /// It comes by itself.
    Discovered(Discovery<F>),
}

/// `envoy.config.core.v3.ExtensionConfigSource`, with the name of the filter it is for. Its one permitted type is `F`'s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery<F> {
    /// What it is asked for by.
    pub name: Arc<str>,
    /// Who has it.
    pub source: ConfigSource,
    /// Stands in while there is none.
    pub default: Option<F>,
    /// The listener waits for it. If not, there is a default.
    pub waits: bool,
}

/// What a place asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// By which name.
    pub name: &'a Arc<str>,
    /// From whom.
    pub source: &'a ConfigSource,
    /// The one type that fits.
    pub message: &'static str,
    /// Whether it is waited for.
    pub waits: bool,
}

impl<F: Placed> Place<F> {
    /// What has to be asked for, if anything.
    #[must_use]
    pub fn asked(&self) -> Option<Asked<'_>> {
        match self {
            Self::Fixed(_) => None,
            Self::Discovered(Discovery { name, source, waits, .. }) => {
                Some(Asked { name, source, message: F::MESSAGE, waits: *waits })
            }
        }
    }
}
