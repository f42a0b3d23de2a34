//! Which route a request takes: route configurations compiled into tables that hold no names, only cluster slots.

use crate::model::name::ClusterName;
use crate::model::route::RouteConfig;
use crate::snapshot::ClusterSlot;

/// A compiled route configuration.
#[derive(Debug)]
pub struct RouteTable {}

/// Why a route configuration has no table.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A route goes to a cluster that does not exist.
    #[error("there is no cluster {0}")]
    NoSuchCluster(ClusterName),
    /// Two virtual hosts have the same domain.
    #[error("domain {0} stands in two virtual hosts")]
    DuplicateDomain(String),
    /// The weights of a route's clusters sum to zero or overflow.
    #[error("the cluster weights of route {0:?} sum to zero or overflow")]
    Weights(String),
}

impl RouteTable {
    /// Compiles `config`; `resolve` knows each cluster's slot.
    ///
    /// # Errors
    /// See [`CompileError`].
    pub fn compile(
        _config: &RouteConfig,
        _resolve: &dyn Fn(&ClusterName) -> Option<ClusterSlot>,
    ) -> Result<Self, CompileError> {
        Ok(Self {})
    }
}
