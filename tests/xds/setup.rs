//! Configurations and resources of the tests with whole proxies.

use std::net::SocketAddr;

use harness::config::{http_with, http2_cluster, listener, with};
use serde_json::{Value, json};

/// Of a node that gets everything from `plane`.
pub(crate) fn bootstrap(id: &str, incremental: bool, plane: SocketAddr) -> Value {
    json!({
        "node": { "id": id, "cluster": "test" },
        "static_resources": { "clusters": [http2_cluster("plane", &[plane])] },
        "dynamic_resources": {
            "ads_config": {
                "api_type": if incremental { "DELTA_GRPC" } else { "GRPC" },
                "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "plane" } }],
            },
            "cds_config": ads(),
            "lds_config": ads(),
        },
    })
}

/// As `bootstrap` has it, but with so much patience at the start.
pub(crate) fn impatient(mut bootstrap: Value, patience: &str) -> Value {
    for source in ["cds_config", "lds_config"] {
        bootstrap["dynamic_resources"][source]["initial_fetch_timeout"] = json!(patience);
    }
    bootstrap
}

pub(crate) fn ads() -> Value {
    json!({ "ads": {}, "resource_api_version": "V3" })
}

pub(crate) fn eds_cluster(name: &str) -> Value {
    json!({ "name": name, "type": "EDS", "connect_timeout": "1s", "eds_cluster_config": { "eds_config": ads() } })
}

pub(crate) fn endpoints(cluster: &str, addresses: &[SocketAddr]) -> Value {
    let endpoint = |address: &SocketAddr| {
        let address = json!({ "address": address.ip().to_string(), "port_value": address.port() });
        json!({ "endpoint": { "address": { "socket_address": address } } })
    };
    let endpoints: Vec<_> = addresses.iter().map(endpoint).collect();
    json!({ "cluster_name": cluster, "endpoints": [{ "lb_endpoints": endpoints }] })
}

pub(crate) fn rds_listener(name: &str, address: SocketAddr, routes: &str) -> Value {
    let rds = json!({ "route_config_name": routes, "config_source": ads() });
    let filter = http_with(json!([]), json!({ "route_config": null, "rds": rds }));
    with(listener(address, filter), json!({ "name": name }))
}

#[expect(clippy::needless_pass_by_value, reason = "callers build the parts in place")]
pub(crate) fn routes(name: &str, routes: Value) -> Value {
    json!({ "name": name, "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }] })
}
