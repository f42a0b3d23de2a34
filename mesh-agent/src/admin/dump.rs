//! `/config_dump`: the model written back as Envoy's resources, in the JSON form of its protobuf messages.
//!
//! What comes out is a configuration the agent would read again, defaults spelled out, so that it shows what was understood and
//! not what was written.

mod assignment;
mod cluster;
mod http;
mod listener;
mod management;
mod node;
mod object;
mod rbac;
mod route;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::admin::dump::object::Object;
use crate::model::config::{Accelerated, Config, Mesh};
use crate::model::workload::{Mode, Workload};
use crate::snapshot::Snapshot;

/// The configuration in force, as `envoy.admin.v3.ConfigDump`, and the `mesh` key beside it, and what became of
/// acceleration, which with `auto` no configuration tells.
pub(super) fn config(config: &Config, snapshot: &Snapshot, accelerated: Option<&Accelerated>) -> Value {
    let version = snapshot.version().to_string();
    let clusters = snapshot.clusters().map(|live| json!({ "cluster": cluster::cluster(&live.config) }));
    let listeners = snapshot.listeners().iter().map(|live| listener::listener(&live.config));
    let udp = snapshot.udp_listeners().iter().map(|live| listener::udp_listener(&live.config));
    let listeners = listeners.chain(udp).map(|listener| json!({ "listener": listener }));
    json!({
        "configs": [
            { "@type": admin_type("BootstrapConfigDump"), "bootstrap": bootstrap(config) },
            {
                "@type": admin_type("ClustersConfigDump"),
                "version_info": version,
                "static_clusters": clusters.collect::<Vec<_>>(),
            },
            {
                "@type": admin_type("ListenersConfigDump"),
                "version_info": version,
                "static_listeners": listeners.collect::<Vec<_>>(),
            },
        ],
        "mesh": mesh(&config.mesh),
        "acceleration": accelerated.map(|Accelerated { on, because }| json!({ "on": on, "because": because })),
    })
}

fn bootstrap(config: &Config) -> Value {
    Object::default()
        .set("node", node::node(&config.node))
        .maybe("admin", config.admin.map(|address| json!({ "address": self::address(address) })))
        .done()
}

fn mesh(mesh: &Mesh) -> Value {
    let cidrs: Vec<_> = mesh.kernel.exclude_cidrs.iter().map(ToString::to_string).collect();
    let on_demand = mesh.on_demand.map(|ttl| json!(object::duration(ttl)));
    json!({
        "workloads": mesh.workloads.iter().map(workload).collect::<Vec<_>>(),
        "kernel": {
            "acceleration": mesh.kernel.acceleration.as_str(),
            "pin_path": mesh.kernel.pin_path,
            "persist": mesh.kernel.persist,
            "exclude_ports": mesh.kernel.exclude_ports,
            "exclude_cidrs": cidrs,
        },
        "trust_domain": mesh.trust_domain,
        "on_demand": on_demand.is_some(),
        "on_demand_ttl": on_demand,
    })
}

fn workload(workload: &Workload) -> Value {
    let mode = match workload.mode {
        Mode::Permissive => "permissive",
        Mode::Enforce => "enforce",
    };
    Object::default()
        .set("name", workload.name.as_str())
        .set("namespace", workload.namespace.as_str())
        .set("service_account", workload.service_account.as_str())
        .set("labels", json!(workload.labels))
        .maybe("netns", workload.netns.as_ref().map(|path| json!(path)))
        .maybe("cgroup", workload.cgroup.as_ref().map(|path| json!(path)))
        .set("addresses", json!(workload.addresses))
        .set("mode", mode)
        .done()
}

/// `envoy.config.core.v3.Address`.
fn address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

fn admin_type(message: &str) -> String {
    format!("type.googleapis.com/envoy.admin.v3.{message}")
}
