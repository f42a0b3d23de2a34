//! A route configuration, compiled: domains indexed, clusters as slots.

use std::sync::Arc;

use crate::model::filter::WeightedCluster;
use crate::model::name::{ClusterName, RouteConfigName};
use crate::model::route::{
    Action, DirectResponse, Domain, Forward, PathRewrite, Redirect, Route, RouteConfig, RouteMatch,
};
use crate::route::host::Hosts;
use crate::route::{RequestView, header, path, query};
use crate::snapshot::{ClusterSlot, WeightedSlots};

/// A compiled route configuration.
#[derive(Debug)]
pub struct RouteTable {
    /// As configured.
    pub config: Arc<RouteConfig>,
    hosts: Hosts,
    routes: Vec<Vec<CompiledRoute>>,
}

/// One route of a table.
#[derive(Debug)]
pub struct CompiledRoute {
    /// Which requests take it.
    pub matches: RouteMatch,
    /// What happens to them.
    pub outcome: Outcome,
}

/// What a route does, with its clusters resolved.
#[derive(Debug)]
pub enum Outcome {
    /// To one of these clusters.
    Forward {
        /// Chosen by weight.
        clusters: WeightedSlots,
        /// As configured.
        config: Forward,
    },
    /// An answer that sends the client elsewhere.
    Redirect(Redirect),
    /// An answer of ours.
    Respond(DirectResponse),
}

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
    #[error("the cluster weights of a route of virtual host {0} sum to zero or overflow")]
    Weights(String),
}

impl RouteTable {
    /// Takes no request: stands for a configuration that has not come.
    #[must_use]
    pub fn empty(name: &RouteConfigName) -> Self {
        let config = RouteConfig { name: name.clone(), virtual_hosts: Vec::new() };
        Self { config: Arc::new(config), hosts: Hosts::default(), routes: Vec::new() }
    }

    /// Compiles `config`; `resolve` knows each cluster's slot.
    ///
    /// # Errors
    /// See [`CompileError`].
    pub fn compile(
        config: &Arc<RouteConfig>,
        resolve: &dyn Fn(&ClusterName) -> Option<ClusterSlot>,
    ) -> Result<Self, CompileError> {
        let mut hosts = Hosts::default();
        let mut routes = Vec::with_capacity(config.virtual_hosts.len());
        for (index, host) in config.virtual_hosts.iter().enumerate() {
            for domain in &host.domains {
                if !hosts.insert(domain, index) {
                    return Err(CompileError::DuplicateDomain(spell(domain)));
                }
            }
            routes.push(
                host.routes.iter().map(|route| compile_route(route, &host.name, resolve)).collect::<Result<_, _>>()?,
            );
        }
        Ok(Self { config: Arc::clone(config), hosts, routes })
    }

    /// The route a request takes.
    #[must_use]
    pub fn find(&self, request: &impl RequestView) -> Option<&CompiledRoute> {
        let host = self.hosts.find(request.authority())?;
        self.routes[host].iter().find(|route| route.takes(request))
    }
}

impl CompiledRoute {
    /// The path toward the upstream, if it is another than the request's.
    #[must_use]
    pub fn rewritten_path(&self, request_path: &str) -> Option<String> {
        match &self.outcome {
            Outcome::Forward { config: Forward { path: PathRewrite::Prefix(prefix), .. }, .. } => {
                Some(path::rewrite(&self.matches.path, request_path, prefix))
            }
            _ => None,
        }
    }

    fn takes(&self, request: &impl RequestView) -> bool {
        let test = &self.matches;
        path::matches(&test.path, test.case_sensitive, request.path())
            && test.headers.iter().all(|test| header::matches(test, request))
            && test.query.iter().all(|test| query::matches(test, request.path()))
            && (!test.grpc || is_grpc(request))
    }
}

fn compile_route(
    route: &Route,
    host: &str,
    resolve: &dyn Fn(&ClusterName) -> Option<ClusterSlot>,
) -> Result<CompiledRoute, CompileError> {
    let outcome = match &route.action {
        Action::Forward(config) => {
            let clusters =
                weighted(&config.clusters, resolve)?.ok_or_else(|| CompileError::Weights(host.to_owned()))?;
            Outcome::Forward { clusters, config: config.clone() }
        }
        Action::Redirect(redirect) => Outcome::Redirect(redirect.clone()),
        Action::Respond(response) => Outcome::Respond(response.clone()),
    };
    Ok(CompiledRoute { matches: route.matches.clone(), outcome })
}

/// The slots of `clusters`, or `None` where the weights make no choice.
pub(crate) fn weighted(
    clusters: &[WeightedCluster],
    resolve: &dyn Fn(&ClusterName) -> Option<ClusterSlot>,
) -> Result<Option<WeightedSlots>, CompileError> {
    let slots = clusters
        .iter()
        .map(|cluster| {
            let slot = resolve(&cluster.name).ok_or_else(|| CompileError::NoSuchCluster(cluster.name.clone()))?;
            Ok((slot, cluster.weight))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(WeightedSlots::new(slots))
}

/// Envoy's idea of a gRPC request: `content-type: application/grpc`, alone or with `+proto` and the like.
fn is_grpc(request: &impl RequestView) -> bool {
    request.header("content-type").next().is_some_and(|kind| {
        kind.strip_prefix("application/grpc").is_some_and(|rest| rest.is_empty() || rest.starts_with('+'))
    })
}

fn spell(domain: &Domain) -> String {
    match domain {
        Domain::Exact(name) => name.clone(),
        Domain::Suffix(suffix) => format!("*{suffix}"),
        Domain::Prefix(prefix) => format!("{prefix}*"),
        Domain::Any => "*".to_owned(),
    }
}
