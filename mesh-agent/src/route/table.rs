//! A route configuration, compiled: domains indexed, clusters as slots.

use std::collections::HashSet;
use std::sync::Arc;

use crate::model::filter::WeightedCluster;
use crate::model::name::{ClusterName, RouteConfigName};
use crate::model::route::{
    Action, DirectResponse, Forward, PathRewrite, Redirect, Route, RouteConfig, RouteMatch, VirtualHost,
};
use crate::route::host::{Hosts, takes};
use crate::route::{RequestView, header, path, query};
use crate::snapshot::{ClusterSlot, Cold, RouteSlot, Use, WeightedSlots};

/// A compiled route configuration.
#[derive(Debug)]
pub struct RouteTable {
    /// As configured.
    pub config: Arc<RouteConfig>,
    hosts: Hosts,
    routes: Vec<Vec<CompiledRoute>>,
    discovers: Option<Discovers>,
}

/// What is known of virtual hosts that come by themselves.
#[derive(Debug)]
struct Discovers {
    slot: RouteSlot,
    /// Hosts that are not to be had.
    missing: HashSet<Arc<str>>,
    /// By virtual host: to be told when it is used.
    used: Vec<Vec<Arc<Use>>>,
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
        let config = RouteConfig { name: name.clone(), virtual_hosts: Vec::new(), vhds: None };
        Self { config: Arc::new(config), hosts: Hosts::default(), routes: Vec::new(), discovers: None }
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
                    return Err(CompileError::DuplicateDomain(domain.to_string()));
                }
            }
            routes.push(
                host.routes.iter().map(|route| compile_route(route, &host.name, resolve)).collect::<Result<_, _>>()?,
            );
        }
        Ok(Self { config: Arc::clone(config), hosts, routes, discovers: None })
    }

    /// More virtual hosts come by themselves: `wanted` are the hosts that are asked for, and whether they are known not to be had.
    pub(crate) fn discover<'w>(
        &mut self,
        slot: RouteSlot,
        wanted: impl Iterator<Item = (&'w Arc<str>, &'w Arc<Use>, bool)>,
    ) {
        let mut discovers = Discovers { slot, missing: HashSet::new(), used: vec![Vec::new(); self.routes.len()] };
        for (host, used, is_missing) in wanted {
            match self.hosts.find(host) {
                Some(index) => discovers.used[index].push(Arc::clone(used)),
                None if is_missing => {
                    discovers.missing.insert(Arc::clone(host));
                }
                None => {}
            }
        }
        self.discovers = Some(discovers);
    }

    /// Whether some virtual host is for `host`.
    #[must_use]
    pub fn has_host(&self, host: &str) -> bool {
        self.hosts.find(host).is_some()
    }

    /// The virtual host of a request, if it has to be asked for. It is asked for in lower case, as Envoy does. What is no host's name
    /// is not: a client chooses the text, and servers end a stream whose requests grow too long.
    #[must_use]
    pub fn cold_host(&self, authority: &str) -> Option<Cold> {
        let discovers = self.discovers.as_ref()?;
        if self.has_host(authority) || !may_be_host(authority) {
            return None;
        }
        let host = authority.to_ascii_lowercase();
        (!discovers.missing.contains(host.as_str())).then(|| Cold::Host(discovers.slot, host.into()))
    }

    /// The route a request takes.
    #[must_use]
    pub fn find(&self, request: &impl RequestView) -> Option<&CompiledRoute> {
        let host = self.hosts.find(request.authority())?;
        if let Some(discovers) = &self.discovers {
            discovers.used[host].iter().for_each(|used| used.touch());
        }
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

/// Whether `authority` is made as a name or an address is, with or without a port.
fn may_be_host(authority: &str) -> bool {
    /// Of a name in DNS, and of `:65535`.
    const LONGEST: usize = 255 + 6;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    (1..=LONGEST).contains(&authority.len()) && authority.bytes().all(fits)
}

/// Whether a virtual host is for `host`, which is in lower case.
pub(crate) fn serves(virtual_host: &VirtualHost, host: &str) -> bool {
    virtual_host.domains.iter().any(|domain| takes(domain, host))
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
