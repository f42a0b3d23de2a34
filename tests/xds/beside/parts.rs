//! Resources made by chance, from what both proxies support.

use std::net::SocketAddr;

use harness::config::{cluster, http_with, listener, tcp, with};
use serde_json::{Value, json};

use super::random::Random;
use super::server::OWN;
use crate::setup::{ads, eds_cluster};

/// A cluster whose endpoints come by EDS, or now and then one with its own.
pub(super) fn any_cluster(random: &mut Random, name: &str, upstreams: &[SocketAddr]) -> Value {
    let mut made = eds_cluster(name);
    if random.one_in(6) {
        let one = *random.pick(upstreams);
        made = cluster(name, &[one]);
    }
    let timeout = format!("{}s", 1 + random.below(5));
    made = with(made, json!({ "connect_timeout": timeout }));
    let mut common = json!({});
    if random.one_in(3) {
        common["healthy_panic_threshold"] = json!({ "value": *random.pick(&[0, 20, 100]) });
    }
    if random.one_in(3) {
        common["locality_weighted_lb_config"] = json!({});
    }
    with(made, json!({ "common_lb_config": common }))
}

/// Endpoints in localities, priorities, health and weights of all sorts; now and then none.
pub(super) fn any_endpoints(random: &mut Random, name: &str, upstreams: &[SocketAddr]) -> Value {
    let mut left = upstreams.to_vec();
    let mut localities = Vec::new();
    let mut priority = 0;
    let count = if random.one_in(12) { 0 } else { 1 + random.below(3) };
    for index in 0..count {
        let wanted = (1 + random.below(3)).min(left.len());
        let chosen: Vec<_> = (0..wanted).map(|_| left.remove(random.below(left.len()))).collect();
        let endpoints: Vec<_> = chosen.into_iter().map(|address| endpoint(random, address)).collect();
        if index > 0 && random.one_in(2) {
            priority += 1;
        }
        localities.push(json!({
            "locality": { "region": format!("r{index}") },
            "load_balancing_weight": 1 + random.below(4),
            "priority": priority,
            "lb_endpoints": endpoints,
        }));
    }
    let mut policy = json!({});
    if random.one_in(8) {
        let percentage = json!({ "numerator": 10 + random.below(50), "denominator": "HUNDRED" });
        policy["drop_overloads"] = json!([{ "category": "all", "drop_percentage": percentage }]);
    }
    if random.one_in(8) {
        policy["overprovisioning_factor"] = json!(*random.pick(&[100, 200]));
    }
    json!({ "cluster_name": name, "endpoints": localities, "policy": policy })
}

fn endpoint(random: &mut Random, address: SocketAddr) -> Value {
    let health = match random.below(12) {
        0 => "UNHEALTHY",
        1 => "DRAINING",
        2 => "DEGRADED",
        3 => "TIMEOUT",
        4 => "UNKNOWN",
        _ => "HEALTHY",
    };
    let weight = if random.one_in(2) { 1 } else { 1 + random.below(4) };
    let address = json!({ "address": address.ip().to_string(), "port_value": address.port() });
    json!({
        "endpoint": { "address": { "socket_address": address } },
        "health_status": health,
        "load_balancing_weight": weight,
    })
}

/// Paths that routes are for.
pub(super) const PATHS: [&str; 4] = ["/p0", "/p1", "/p2", "/p3"];

/// Routes for some of [`PATHS`], behind those that are always there.
pub(super) fn any_routes(random: &mut Random, revision: u64, clusters: &[String]) -> Value {
    let mut routes = vec![
        json!({ "match": { "path": "/rev" }, "direct_response": { "status": 200, "body": { "inline_string": format!("{revision}") } } }),
        json!({ "match": { "prefix": "/steady" }, "route": { "cluster": "steady" } }),
    ];
    for path in PATHS {
        let action = match random.below(8) {
            0 => continue,
            1 => json!({ "direct_response": { "status": *random.pick(&[403, 418, 503]) } }),
            2 => json!({ "redirect": { "path_redirect": "/elsewhere" } }),
            3 | 4 if clusters.len() > 1 => {
                let first = random.below(clusters.len() - 1);
                let each = clusters[first..].iter().take(2);
                let weighted: Vec<_> =
                    each.map(|name| json!({ "name": name, "weight": 1 + random.below(4) })).collect();
                json!({ "route": { "weighted_clusters": { "clusters": weighted } } })
            }
            _ if clusters.is_empty() => continue,
            _ => json!({ "route": { "cluster": random.pick(clusters).clone() } }),
        };
        let matches = if random.one_in(2) { json!({ "prefix": path }) } else { json!({ "path": path }) };
        routes.push(with(json!({ "match": matches }), action));
    }
    json!(routes)
}

/// A listener of each node's own, by what it does.
pub(super) fn own_listener(name: &str, port: u16, serves: &Serves, salt: u64) -> Value {
    let filter = match serves {
        Serves::Discovered(routes) => {
            let rds = json!({ "route_config_name": routes, "config_source": ads() });
            http_with(json!([]), json!({ "route_config": null, "rds": rds }))
        }
        Serves::Inline(routes) => http_with(routes.clone(), json!({})),
        Serves::Tcp(cluster) => tcp(cluster),
    };
    let address = json!({ "socket_address": { "address": OWN, "port_value": port } });
    let limit = 1_048_576 + salt;
    let fields = json!({ "name": name, "address": address, "per_connection_buffer_limit_bytes": limit });
    with(listener(SocketAddr::from(([127, 0, 0, 1], port)), filter), fields)
}

/// What a listener does.
#[derive(Clone, Debug)]
pub(super) enum Serves {
    Discovered(&'static str),
    Inline(Value),
    Tcp(String),
}
