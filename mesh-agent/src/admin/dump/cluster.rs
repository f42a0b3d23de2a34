//! `envoy.config.cluster.v3.Cluster`.

use serde_json::{Value, json};

use crate::admin::dump::address;
use crate::admin::dump::http::http2;
use crate::admin::dump::object::{Object, duration};
use crate::model::cluster::{
    BalancePolicy, Cluster, Discovery, DnsFamily, DnsHost, Endpoint, Http2Options, UpstreamProtocol,
};

const PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

pub(super) fn cluster(cluster: &Cluster) -> Value {
    let policy = match cluster.balance {
        BalancePolicy::RoundRobin => "ROUND_ROBIN",
    };
    let object = Object::default()
        .set("name", cluster.name.as_str())
        .set("connect_timeout", duration(cluster.connect_timeout))
        .set("lb_policy", policy)
        .maybe("typed_extension_protocol_options", protocol(cluster.protocol));
    let (object, endpoints) = match &cluster.discovery {
        Discovery::Static(endpoints) => {
            (object.set("type", "STATIC"), endpoints.iter().map(endpoint).collect::<Vec<_>>())
        }
        Discovery::StrictDns { hosts, refresh, family } => (
            object
                .set("type", "STRICT_DNS")
                .set("dns_refresh_rate", duration(*refresh))
                .set("dns_lookup_family", dns_family(*family)),
            hosts.iter().map(dns_host).collect(),
        ),
    };
    let assignment = json!({ "cluster_name": cluster.name.as_str(), "endpoints": [{ "lb_endpoints": endpoints }] });
    object.set("load_assignment", assignment).done()
}

fn endpoint(endpoint: &Endpoint) -> Value {
    let inner = Object::default()
        .set("address", address(endpoint.address))
        .text("hostname", endpoint.hostname.as_deref().unwrap_or_default());
    json!({ "endpoint": inner.done(), "load_balancing_weight": endpoint.weight })
}

fn dns_host(host: &DnsHost) -> Value {
    let address = json!({ "socket_address": { "address": host.host, "port_value": host.port } });
    json!({ "endpoint": { "address": address }, "load_balancing_weight": host.weight })
}

fn dns_family(family: DnsFamily) -> &'static str {
    match family {
        DnsFamily::Auto => "AUTO",
        DnsFamily::V4Only => "V4_ONLY",
        DnsFamily::V6Only => "V6_ONLY",
        DnsFamily::V4Preferred => "V4_PREFERRED",
        DnsFamily::All => "ALL",
    }
}

fn protocol(protocol: UpstreamProtocol) -> Option<Value> {
    let options = |options: Http2Options| json!({ "http2_protocol_options": http2(options) });
    let (key, config) = match protocol {
        UpstreamProtocol::Http1 => return None,
        UpstreamProtocol::Http2(http2) => ("explicit_http_config", options(http2)),
        UpstreamProtocol::Downstream(http2) => ("use_downstream_protocol_config", options(http2)),
    };
    let message = Object::typed(PROTOCOL_OPTIONS).set(key, config).done();
    Some(Object::default().set(PROTOCOL_OPTIONS, message).done())
}
