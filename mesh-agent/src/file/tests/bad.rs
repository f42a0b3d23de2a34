//! `testdata/bad.txt`: bad configurations and the lines they print. `BLESS=1` rewrites the lines; read them before they land.

use std::fmt::Write as _;
use std::fs;

use super::{bless, decode};

/// What stands around the text of a case, so that a case is short. The text begins on line 2.
const AROUND: [(&str, &str, &str); 7] = [
    ("file", "#", ""),
    (
        "listeners",
        "static_resources: { clusters: [{ name: a, load_assignment: { cluster_name: a } }], listeners: [",
        "] }",
    ),
    ("clusters", "static_resources: { clusters: [", "] }"),
    (
        "http",
        "{ static_resources: { clusters: [{ name: a, load_assignment: { cluster_name: a } }], listeners: [{ address: \
         { socket_address: { address: 127.0.0.1, port_value: 80 } }, filter_chains: [{ filters: [{ name: h, \
         typed_config: { \"@type\": t/HCM, stat_prefix: s, http_filters: [{ name: r, typed_config: { \"@type\": \
         t/ROUTER } }],",
        "} }] }] }] } }",
    ),
    (
        "routes",
        "static_resources: { clusters: [{ name: a, load_assignment: { cluster_name: a } }], listeners: [{ address: \
         { socket_address: { address: 127.0.0.1, port_value: 80 } }, filter_chains: [{ filters: [{ name: h, \
         typed_config: { \"@type\": t/HCM, stat_prefix: s, http_filters: [{ name: r, typed_config: { \"@type\": \
         t/ROUTER } }], route_config: { virtual_hosts: [{ name: v, domains: [\"*\"], routes: [",
        "] }] } } }] }] }] }",
    ),
    ("mesh", "{ mesh: {", "} }"),
    (
        "udp",
        "{ mesh: { workloads: [{ name: w, cgroup: w }] }, static_resources: { clusters: [{ name: a, load_assignment: { \
         cluster_name: a } }], listeners: [{",
        "}] } }",
    ),
];

/// Short forms of the longest names.
const SHORT: [(&str, &str); 10] = [
    ("ONDEMAND", "envoy.extensions.filters.http.on_demand.v3.OnDemand"),
    ("TLS", "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"),
    ("HCM", "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
    ("ROUTER", "envoy.extensions.filters.http.router.v3.Router"),
    ("UDPROUTE", "envoy.extensions.filters.udp.udp_proxy.v3.Route"),
    ("UDP", "envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig"),
    ("TCP", "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"),
    ("RBAC", "envoy.extensions.filters.network.rbac.v3.RBAC"),
    ("INSPECTOR", "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"),
    ("UPSTREAM", "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"),
];

#[test]
fn prints_exactly() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/bad.txt");
    let fixture = fs::read_to_string(path).unwrap();
    let (head, cases) = fixture.split_at(fixture.find("=== ").unwrap());
    let mut rewritten = head.to_owned();
    let mut differing = Vec::new();
    for case in cases.split("=== ").filter(|case| !case.is_empty()) {
        let (title, rest) = case.split_once('\n').unwrap();
        let (text, expected) = rest.split_once("---\n").expect("a line of three hyphens");
        let printed = shorten(&print(title, text));
        if printed != expected.trim_end() {
            differing.push(format!("{title}\nexpected:\n{expected}\nprinted:\n{printed}\n"));
        }
        let _ = write!(rewritten, "=== {title}\n{text}---\n{printed}\n\n");
    }
    if bless() {
        fs::write(path, rewritten.trim_end().to_owned() + "\n").unwrap();
    } else {
        assert!(differing.is_empty(), "{}", differing.join("\n"));
    }
}

fn print(title: &str, text: &str) -> String {
    let (_, before, after) = AROUND
        .into_iter()
        .find(|(name, ..)| title.starts_with(&format!("{name}: ")))
        .expect("a title begins with where its text stands");
    let mut whole = format!("{before}\n{text}{after}\n");
    for (short, long) in SHORT {
        whole = whole.replace(&format!("t/{short}"), &format!("type.googleapis.com/{long}"));
    }
    match decode(&whole) {
        Ok(_) => "nothing wrong".to_owned(),
        Err(printed) => printed,
    }
}

/// The common beginning of the longest paths, and the summary, left out.
fn shorten(printed: &str) -> String {
    let manager = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
    let lines = printed.lines().filter(|line| !line.ends_with(" error") && !line.ends_with(" errors"));
    let line = |line: &str| {
        line.trim_start_matches("f:")
            .replace(manager, "MANAGER")
            .replace("MANAGER.route_config.virtual_hosts[0].routes", "ROUTES")
    };
    lines.map(line).collect::<Vec<_>>().join("\n")
}
