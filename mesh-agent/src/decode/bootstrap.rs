//! The whole file: Envoy's bootstrap with our `mesh:` key.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::decode::address::{ADDRESS, address};
use crate::decode::at::{Context, HostPath};
use crate::decode::cluster::{CLUSTER, cluster};
use crate::decode::dynamic::{DYNAMIC, dynamic};
use crate::decode::fields::{Fields, decode_root};
use crate::decode::identity::{NODE, node};
use crate::decode::kind::Kind;
use crate::decode::listener::{AnyListener, LISTENER, Listeners, listener};
use crate::decode::mesh::{MESH, mesh};
use crate::decode::node::Node;
use crate::decode::problem::{ConfigError, Problem};
use crate::decode::unique::Unique;
use crate::model::config::Config;
use crate::model::management::Origin;
use crate::model::name::ClusterName;

const BOOTSTRAP: &str = "envoy.config.bootstrap.v3.Bootstrap";
const STATIC_RESOURCES: &str = "envoy.config.bootstrap.v3.Bootstrap.StaticResources";
const ADMIN: &str = "envoy.config.bootstrap.v3.Admin";

/// What a bootstrap says.
#[derive(Debug)]
pub struct Decoded {
    /// The configuration, if nothing is wrong with it.
    pub config: Option<Config>,
    /// Everything that is wrong, in no order.
    pub errors: Vec<ConfigError>,
    /// Files that must exist on this host; checking that is the caller's, who may do I/O.
    pub host_paths: Vec<HostPath>,
}

/// Decodes a bootstrap.
#[must_use]
pub fn bootstrap(root: &Node) -> Decoded {
    let context = Context::default();
    let config = decode_root(root, BOOTSTRAP, &context, |fields| whole(fields, &context));
    let Context { errors, host_paths, .. } = context;
    let errors = errors.into_inner();
    Decoded { config: config.filter(|_| errors.is_empty()), errors, host_paths: host_paths.into_inner() }
}

fn whole(fields: &Fields<'_>, context: &Context) -> Option<Config> {
    let names = Unique::new("cluster");
    let mut config = Config {
        node: fields.message("node", NODE, node).unwrap_or_default(),
        mesh: fields.message("mesh", MESH, mesh).unwrap_or_default(),
        admin: fields.message("admin", ADMIN, admin),
        ..Config::default()
    };
    fields.message("static_resources", STATIC_RESOURCES, |fields| {
        static_resources(fields, &names, &mut config);
        Some(())
    });
    let by_static = context.wanted_clusters.take();
    config.dynamic = fields.message("dynamic_resources", DYNAMIC, |fields| dynamic(fields, context, &config.clusters));
    let clusters = config.dynamic.as_ref().and_then(|dynamic| dynamic.clusters.as_ref());
    if let Some(place) = context.asks_for_clusters.take()
        && clusters.is_none_or(|source| source.origin != Origin::Server)
    {
        const NOBODY: &str = "there is nobody to ask: dynamic_resources.cds_config is needed with it, from ads";
        context.report(place, Problem::Rule(NOBODY));
    }
    if let Some(place) = context.keeps.take()
        && config.dynamic.as_ref().is_none_or(|dynamic| dynamic.ads.is_none())
    {
        const NOTHING: &str =
            "there is nothing to be kept: only what a management server sends is (dynamic_resources.ads_config)";
        context.report(place, Problem::Rule(NOTHING));
    }
    // What the file refers to may come from elsewhere, if clusters do. A management server can't.
    let may_come = config.dynamic.as_ref().is_some_and(|dynamic| dynamic.clusters.is_some());
    let servers = context.wanted_clusters.take();
    // A management server with TLS has its certificates read for every stream, and nothing else is sent there: it is none of the
    // clusters that something could be sent to.
    let is_server = |name: &ClusterName| servers.iter().any(|(server, _)| server == name);
    let (secured, others) = std::mem::take(&mut config.clusters)
        .into_iter()
        .partition::<Vec<_>, _>(|it| it.tls.is_some() && is_server(&it.name));
    config.clusters = others;
    for (_, place) in by_static.iter().filter(|(wanted, _)| secured.iter().any(|it| it.name == *wanted)) {
        context.report(place.clone(), Problem::Rule("must not be a management server with TLS"));
    }
    let wanted = by_static.into_iter().filter(|_| !may_come).chain(servers);
    for (cluster, place) in wanted {
        if !names.contains(cluster.as_str()) {
            context.report(place, Problem::NoSuchCluster(cluster.to_string()));
        }
    }
    Some(config)
}

fn static_resources(fields: &Fields<'_>, names: &Unique, config: &mut Config) {
    let clusters = fields.messages("clusters", CLUSTER, |fields| {
        // Claimed before the rest is read: a cluster with an error in it is still there to be referred to.
        if let (Some(name), Some(at)) = (fields.require_text("name"), fields.get("name", &Kind::Text)) {
            names.claim(name.to_owned(), &at);
        }
        cluster(fields)
    });
    config.clusters = clusters.into_iter().map(Arc::new).collect();
    let taken = Listeners::default();
    let none_to_serve = config.mesh.workloads.is_empty();
    let listeners = fields.messages("listeners", LISTENER, |fields| {
        let listener = listener(fields, &taken);
        if none_to_serve && matches!(listener, Some(AnyListener::Udp(_))) {
            fields.at().rule("a UDP listener serves workloads, and mesh.workloads names none");
        }
        listener
    });
    for listener in listeners {
        match listener {
            AnyListener::Tcp(listener) => config.listeners.push(Arc::new(listener)),
            AnyListener::Udp(listener) => config.udp_listeners.push(Arc::new(listener)),
        }
    }
    fields.refuse("secrets", "write what is in them where it is used");
}

fn admin(fields: &Fields<'_>) -> Option<SocketAddr> {
    let at = fields.get("address", &Kind::Message(ADDRESS))?;
    let admin = fields.message("address", ADDRESS, address)?;
    if !admin.ip().is_loopback() {
        at.rule("must be a loopback address: the admin interface has no authentication");
    }
    Some(admin)
}
