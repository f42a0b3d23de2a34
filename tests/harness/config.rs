//! Bootstraps for tests, built as JSON (which is YAML): listeners, filters and clusters with what a test cares about.
#![allow(clippy::needless_pass_by_value, reason = "callers build the parts in place")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::{Value, json};

/// A whole configuration.
#[must_use]
pub fn bootstrap(listeners: &[Value], clusters: &[Value]) -> Value {
    json!({ "node": { "id": "test", "cluster": "test" }, "static_resources": { "listeners": listeners, "clusters": clusters } })
}

/// A listener bound to `address`, with one filter.
#[must_use]
pub fn listener(address: SocketAddr, filter: Value) -> Value {
    json!({
        "name": format!("at {address}"),
        "address": socket_address(address),
        "filter_chains": [{ "filters": [filter] }],
    })
}

/// A listener that is found by original destination.
#[must_use]
pub fn service(address: SocketAddr, filter: Value) -> Value {
    with(listener(address, filter), json!({ "bind_to_port": false }))
}

/// A listener that detects HTTP; what isn't HTTP goes to `opaque`.
#[must_use]
pub fn detecting(address: SocketAddr, http: Value, opaque: Value, timeout: &str) -> Value {
    json!({
        "name": format!("at {address}"),
        "address": socket_address(address),
        "bind_to_port": false,
        "listener_filters": [{
            "name": "envoy.filters.listener.http_inspector",
            "typed_config": { "@type": format!("{TYPES}.filters.listener.http_inspector.v3.HttpInspector") },
        }],
        "listener_filters_timeout": timeout,
        "continue_on_listener_filters_timeout": true,
        "filter_chains": [{
            "filter_chain_match": { "application_protocols": ["http/1.0", "http/1.1", "h2c"] },
            "filters": [http],
        }],
        "default_filter_chain": { "filters": [opaque] },
    })
}

/// HTTP by these routes, in one virtual host for every domain.
#[must_use]
pub fn http(routes: Value) -> Value {
    http_with(routes, json!({}))
}

/// As [`http`], with more fields of the connection manager.
#[must_use]
pub fn http_with(routes: Value, fields: Value) -> Value {
    let config = json!({
        "@type": format!("{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "test",
        "route_config": { "name": "test", "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }] },
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": format!("{TYPES}.filters.http.router.v3.Router") },
        }],
    });
    json!({ "name": "envoy.filters.network.http_connection_manager", "typed_config": with(config, fields) })
}

/// One route: everything to a cluster.
#[must_use]
pub fn all_to(cluster: &str) -> Value {
    json!([{ "match": { "prefix": "/" }, "route": { "cluster": cluster } }])
}

/// Bytes to a cluster.
#[must_use]
pub fn tcp(cluster: &str) -> Value {
    tcp_with(json!({ "cluster": cluster }))
}

/// Bytes to a cluster through the agent: the kernel, which serves [`tcp`] by itself, closes nothing that is idle.
#[must_use]
pub fn agent_tcp(cluster: &str) -> Value {
    tcp_with(json!({ "cluster": cluster, "idle_timeout": "600s" }))
}

/// Bytes, by these fields of the TCP proxy.
#[must_use]
pub fn tcp_with(fields: Value) -> Value {
    let config = json!({ "@type": format!("{TYPES}.filters.network.tcp_proxy.v3.TcpProxy"), "stat_prefix": "test" });
    json!({ "name": "envoy.filters.network.tcp_proxy", "typed_config": with(config, fields) })
}

/// A cluster of fixed addresses that speaks HTTP/1.1 or plain TCP.
#[must_use]
pub fn cluster(name: &str, endpoints: &[SocketAddr]) -> Value {
    let endpoint = |&address: &SocketAddr| json!({ "endpoint": { "address": socket_address(address) } });
    let endpoints = endpoints.iter().map(endpoint).collect::<Vec<_>>();
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": endpoints }] },
    })
}

/// A cluster that speaks HTTP/2 with prior knowledge.
#[must_use]
pub fn http2_cluster(name: &str, endpoints: &[SocketAddr]) -> Value {
    let options = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": format!("{TYPES}.upstreams.http.v3.HttpProtocolOptions"),
            "explicit_http_config": { "http2_protocol_options": {} },
        },
    });
    with(cluster(name, endpoints), json!({ "typed_extension_protocol_options": options }))
}

/// A cluster with TLS: these fields of the context, and of what stands in it for both directions.
#[must_use]
pub fn secured(cluster: Value, context: Value, common: Value) -> Value {
    let kind = json!({ "@type": format!("{TYPES}.transport_sockets.tls.v3.UpstreamTlsContext") });
    let context = with(with(kind, context), json!({ "common_tls_context": common }));
    with(cluster, json!({ "transport_socket": { "name": "envoy.transport_sockets.tls", "typed_config": context } }))
}

/// `value` with the fields of `more` added or replaced.
#[must_use]
pub fn with(mut value: Value, more: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut value, more) {
        fields.extend(more);
    }
    value
}

/// An address that no other test on this machine listens on: all of 127/8 is local. A free port of 127.0.0.1 would not do,
/// because the agent shares its ports (`SO_REUSEPORT`) and so would never notice that one is taken.
#[must_use]
pub fn own_address(port: u16) -> SocketAddr {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, 64 | (high << 6) | (middle & 0x3f), low, COUNT.fetch_add(1, Ordering::Relaxed));
    SocketAddr::new(IpAddr::V4(ip), port)
}

fn socket_address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

const TYPES: &str = "type.googleapis.com/envoy.extensions";
