//! `envoy.config.listener.v3.Listener` and its filter chains.

use ipnet::IpNet;
use serde_json::{Value, json};

use crate::admin::dump::address;
use crate::admin::dump::http::connection_manager;
use crate::admin::dump::management::config_source;
use crate::admin::dump::object::{Object, duration, limit};
use crate::admin::dump::rbac::rbac;
use crate::model::authz::Rules;
use crate::model::extension::{Discovery, Place, Placed};
use crate::model::filter::{NetworkFilter, TcpProxy, WeightedCluster};
use crate::model::flow::Direction;
use crate::model::listener::{ChainMatch, FilterChain, Listener, UdpListener};

pub(super) fn listener(listener: &Listener) -> Value {
    let direction = match listener.direction {
        Direction::Inbound => "INBOUND",
        Direction::Outbound => "OUTBOUND",
    };
    let object = Object::default()
        .set("name", listener.name.as_str())
        .set("address", address(listener.address))
        .set("bind_to_port", listener.bind)
        .set("use_original_dst", listener.catch_all)
        .set("traffic_direction", direction)
        .list("filter_chains", &listener.chains, chain)
        .maybe("default_filter_chain", listener.default_chain.as_ref().map(chain));
    let Some(detect) = listener.detect else { return object.done() };
    let inspector = filter(
        "envoy.filters.listener.http_inspector",
        Object::typed("envoy.extensions.filters.listener.http_inspector.v3.HttpInspector").done(),
    );
    object
        .set("listener_filters", json!([inspector]))
        .set("listener_filters_timeout", duration(detect.timeout))
        .set("continue_on_listener_filters_timeout", detect.continue_on_timeout)
        .done()
}

/// A listener for UDP.
pub(super) fn udp_listener(listener: &UdpListener) -> Value {
    let proxy = Object::typed("envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig")
        .set("stat_prefix", listener.proxy.stat_prefix.as_str())
        .maybe("hash_policies", listener.proxy.by_client.then(|| json!([{ "source_ip": true }])))
        .set("cluster", listener.proxy.cluster.as_str())
        .done();
    let mut address = address(listener.address);
    address["socket_address"]["protocol"] = json!("UDP");
    Object::default()
        .set("name", listener.name.as_str())
        .set("address", address)
        .set("bind_to_port", false)
        .set("listener_filters", json!([filter("envoy.filters.udp_listener.udp_proxy", proxy)]))
        .done()
}

fn chain(chain: &FilterChain) -> Value {
    let filter = match &chain.filter {
        NetworkFilter::Http(config) => {
            filter("envoy.filters.network.http_connection_manager", connection_manager(config))
        }
        NetworkFilter::Tcp(config) => filter("envoy.filters.network.tcp_proxy", tcp_proxy(config)),
    };
    let filters: Vec<_> = chain.authorization.iter().map(rules).chain([filter]).collect();
    Object::default()
        .text("name", &chain.name)
        .set("filter_chain_match", chain_match(&chain.matches))
        .set("filters", filters)
        .done()
}

fn rules(rules: &Place<Rules>) -> Value {
    placed("envoy.filters.network.rbac", rules, rbac)
}

/// A filter where it stands, or where it is had from.
pub(super) fn placed<F: Placed>(name: &str, place: &Place<F>, config: impl Fn(&F) -> Value) -> Value {
    let Discovery { name, source, default, waits } = match place {
        Place::Fixed(it) => return filter(name, config(it)),
        Place::Discovered(discovery) => discovery,
    };
    let discovery = Object::default()
        .set("config_source", config_source(source))
        .maybe("default_config", default.as_ref().map(config))
        .set("apply_default_config_without_warming", !waits)
        .set("type_urls", json!([format!("type.googleapis.com/{}", F::MESSAGE)]))
        .done();
    Object::default().set("name", &**name).set("config_discovery", discovery).done()
}

fn chain_match(matches: &ChainMatch) -> Value {
    Object::default()
        .maybe("destination_port", matches.destination_port)
        .list("prefix_ranges", &matches.destination, cidr)
        .list("application_protocols", &matches.application_protocols, |name| json!(name))
        .list("source_prefix_ranges", &matches.source, cidr)
        .list("source_ports", &matches.source_ports, |port| json!(port))
        .done()
}

fn tcp_proxy(proxy: &TcpProxy) -> Value {
    let object = Object::typed("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy")
        .set("stat_prefix", proxy.stat_prefix.as_str())
        .maybe("hash_policy", proxy.by_client.then(|| json!([{ "source_ip": {} }])))
        .set("idle_timeout", limit(proxy.idle_timeout));
    match proxy.clusters.as_slice() {
        [only] => object.set("cluster", only.name.as_str()).done(),
        clusters => object.set("weighted_clusters", weighted(clusters)).done(),
    }
}

/// The `weighted_clusters` of a TCP proxy or a route: both have the same shape.
pub(super) fn weighted(clusters: &[WeightedCluster]) -> Value {
    let each = |cluster: &WeightedCluster| json!({ "name": cluster.name.as_str(), "weight": cluster.weight });
    json!({ "clusters": clusters.iter().map(each).collect::<Vec<_>>() })
}

pub(super) fn cidr(net: &IpNet) -> Value {
    json!({ "address_prefix": net.addr().to_string(), "prefix_len": net.prefix_len() })
}

/// A filter with its name and its typed configuration.
pub(super) fn filter(name: &str, config: Value) -> Value {
    Object::default().set("name", name).set("typed_config", config).done()
}
