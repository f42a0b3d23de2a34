//! `envoy.config.cluster.v3.Cluster`.

use serde_json::{Value, json};

use crate::admin::dump::assignment::{assignment, dns_host, endpoint};
use crate::admin::dump::http::http2;
use crate::admin::dump::management::config_source;
use crate::admin::dump::object::{Object, duration};
use crate::admin::dump::tls::transport_socket;
use crate::model::cluster::{
    BalancePolicy, Cluster, DEFAULT_PANIC_THRESHOLD, Discovery, DnsFamily, Eds, Http2Options, UpstreamProtocol,
};

const PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

pub(super) fn cluster(cluster: &Cluster) -> Value {
    let policy = match cluster.balance {
        BalancePolicy::RoundRobin => "ROUND_ROBIN",
        BalancePolicy::Maglev { .. } => "MAGLEV",
    };
    let maglev = match cluster.balance {
        BalancePolicy::Maglev { size, .. } => Some(json!({ "table_size": size.get().to_string() })),
        BalancePolicy::RoundRobin => None,
    };
    let object = Object::default()
        .set("name", cluster.name.as_str())
        .set("connect_timeout", duration(cluster.connect_timeout))
        .set("lb_policy", policy)
        .maybe("maglev_lb_config", maglev)
        .maybe("common_lb_config", common(cluster))
        .maybe("transport_socket", cluster.tls.as_deref().map(transport_socket))
        .maybe("typed_extension_protocol_options", protocol(cluster.protocol));
    let name = cluster.name.as_str();
    let (object, assignment) = match &cluster.discovery {
        Discovery::Static(endpoints) => (object.set("type", "STATIC"), assignment(name, endpoints, endpoint)),
        Discovery::StrictDns { hosts, refresh, family } => (
            object
                .set("type", "STRICT_DNS")
                .set("dns_refresh_rate", duration(*refresh))
                .set("dns_lookup_family", dns_family(*family)),
            assignment(name, hosts, dns_host),
        ),
        Discovery::Eds(Eds { service, source }) => {
            let config = json!({ "service_name": &**service, "eds_config": config_source(source) });
            return object.set("type", "EDS").set("eds_cluster_config", config).done();
        }
    };
    object.set("load_assignment", assignment).done()
}

fn common(cluster: &Cluster) -> Option<Value> {
    let threshold = cluster.panic_threshold;
    let threshold = (threshold != DEFAULT_PANIC_THRESHOLD).then(|| json!({ "value": threshold }));
    let localities = cluster.weighs_localities.then(|| json!({}));
    let by_hostname = matches!(cluster.balance, BalancePolicy::Maglev { by_hostname: true, .. });
    let consistent = by_hostname.then(|| json!({ "use_hostname_for_hashing": true }));
    let common = Object::default()
        .maybe("healthy_panic_threshold", threshold)
        .maybe("locality_weighted_lb_config", localities)
        .maybe("consistent_hashing_lb_config", consistent)
        .done();
    (common != json!({})).then_some(common)
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
