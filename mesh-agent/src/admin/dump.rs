//! `/config_dump`: the model written back as Envoy's resources, in the JSON form of its protobuf messages.
//!
//! What comes out is a configuration the agent would read again, defaults spelled out, so that it shows what was understood and
//! not what was written.

mod assignment;
mod cluster;
mod http;
mod listener;
mod live;
mod management;
mod node;
mod object;
mod rbac;
mod resources;
mod route;
#[cfg(test)]
mod tests;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::admin::dump::object::Object;
use crate::model::config::{Accelerated, Config, Mesh};
use crate::model::management::{KnownResources, Standing};
use crate::model::workload::{Mode, Workload};
use crate::snapshot::Snapshot;

/// What is in force.
pub(super) struct Live {
    pub(super) config: Arc<Config>,
    pub(super) snapshot: Arc<Snapshot>,
    /// How it stands with the management server.
    pub(super) standing: Standing,
    /// What it sent, or was asked for.
    pub(super) known: KnownResources,
    pub(super) acceleration: Option<Accelerated>,
}

/// The configuration in force, as `envoy.admin.v3.ConfigDump`, and the `mesh` key beside it, and what became of
/// acceleration, which with `auto` no configuration tells. Endpoints that came by themselves are many, so they have to be asked for.
pub(super) fn config(live: &Live, with_endpoints: bool) -> Value {
    let mut configs = vec![
        Object::typed(&admin("BootstrapConfigDump")).set("bootstrap", bootstrap(&live.config)).done(),
        live.clusters(),
    ];
    configs.extend(with_endpoints.then(|| live.endpoints()));
    configs.extend([live.listeners(), live.routes()]);
    configs.extend(live.scopes());
    configs.extend(live.extensions());
    json!({
        "configs": configs,
        "mesh": mesh(&live.config.mesh),
        "acceleration": live.acceleration.as_ref().map(|it| json!({ "on": it.on, "because": it.because })),
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
        "last_good": mesh.last_good.as_ref().map(|path| json!({ "path": path })),
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

fn admin(message: &str) -> String {
    format!("envoy.admin.v3.{message}")
}
