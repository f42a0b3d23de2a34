//! Listeners as an operator writes them, and which of them the kernel can serve.

mod follow;

use std::collections::HashMap;

use super::*;
use crate::file;
use crate::model::endpoint::{Endpoint, Roster};
use crate::model::service::Claimed;
use crate::snapshot::{Builder, Change, EndpointSet};

/// The services of a configuration with clusters `one` and `two` of two endpoints, `heavy` with weights, `six` with IPv6, and
/// `none`.
fn services_of(listener: &str) -> Vec<(String, Vec<(String, f64)>)> {
    let spell = |endpoint: &Option<SocketAddr>| endpoint.map_or("nowhere".to_owned(), |it| it.to_string());
    let shares = |service: &Service| service.shares.iter().map(|(endpoint, share)| (spell(endpoint), *share)).collect();
    let services = snapshot_of(listener);
    services.0.iter().map(|((_, address), service)| (address.to_string(), shares(service))).collect()
}

fn snapshot_of(listener: &str) -> Services {
    let endpoint = |address: &str, port: u16, weight: u32| {
        format!(
            "{{load_balancing_weight: {weight}, endpoint: {{address: \
             {{socket_address: {{address: '{address}', port_value: {port}}}}}}}}}"
        )
    };
    let cluster = |name: &str, endpoints: &[String]| {
        format!(
            "  - {{name: {name}, type: STATIC, load_assignment: \
             {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{}]}}]}}}}\n",
            endpoints.join(", ")
        )
    };
    let text = format!(
        "static_resources:\n  clusters:\n{}{}{}{}{}{}{}  listeners:\n  - {listener}\n",
        cluster("one", &[endpoint("10.0.0.1", 81, 1), endpoint("10.0.0.2", 81, 1)]),
        cluster("two", &[endpoint("10.0.0.3", 81, 1), endpoint("10.0.0.4", 81, 1)]),
        cluster("heavy", &[endpoint("10.0.0.5", 81, 3), endpoint("10.0.0.6", 81, 1)]),
        cluster("six", &[endpoint("fd00::1", 81, 1)]),
        cluster("none", &[]),
        cluster("hashed", &[endpoint("10.0.0.7", 81, 1), endpoint("10.0.0.8", 81, 2)])
            .replace("type: STATIC", "type: STATIC, lb_policy: MAGLEV"),
        cluster("secure", &[endpoint("10.0.0.9", 81, 1)])
            .replace("type: STATIC", &format!("type: STATIC, transport_socket: {{name: tls, typed_config: {TLS}}}")),
    );
    let config = file::parse(&text, |_| Vec::new()).expect("a configuration");
    let (snapshot, rejected) = Builder::default().build(&config.listeners, &config.clusters, &HashMap::new());
    assert_eq!(rejected, []);
    services(&snapshot)
}

fn listener(fields: &str, chain: &str) -> String {
    format!(
        "{{name: l, address: {{socket_address: {{address: 10.96.0.1, port_value: 80}}}}, bind_to_port: false, \
         filter_chains: [{{filters: [{chain}]}}]{fields}}}"
    )
}

fn tcp(to: &str) -> String {
    format!(
        "{{name: tcp, typed_config: {{'@type': \
         type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, {to}}}}}"
    )
}

const TLS: &str = "{'@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, \
                   common_tls_context: {validation_context: {trust_chain_verification: ACCEPT_UNTRUSTED}}}";

#[track_caller]
fn check(listener: &str, shares: &[(&str, f64)]) {
    let shares = shares.iter().map(|(endpoint, share)| ((*endpoint).to_owned(), *share)).collect();
    assert_eq!(services_of(listener), [("10.96.0.1:80".to_owned(), shares)], "{listener}");
}

#[test]
fn bytes_to_endpoints_need_no_agent() {
    check(&listener("", &tcp("cluster: one")), &[("10.0.0.1:81", 0.5), ("10.0.0.2:81", 0.5)]);
    check(&listener("", &tcp("cluster: heavy")), &[("10.0.0.5:81", 0.75), ("10.0.0.6:81", 0.25)]);
    check(&listener("", &tcp("cluster: none")), &[]);
    check(&listener("", &tcp("cluster: one, idle_timeout: 3600s")), &[("10.0.0.1:81", 0.5), ("10.0.0.2:81", 0.5)]);
    let original = ", listener_filters: [{name: o, typed_config: {'@type': \
                    type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst}}]";
    check(&listener(original, &tcp("cluster: one")), &[("10.0.0.1:81", 0.5), ("10.0.0.2:81", 0.5)]);
}

#[test]
fn a_policy_needs_no_agent() {
    let rules = "{name: r, typed_config: {'@type': \
                 type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC, stat_prefix: r, rules: {}}}";
    let chain = format!("{rules}, {}", tcp("cluster: one"));
    check(&listener("", &chain), &[("10.0.0.1:81", 0.5), ("10.0.0.2:81", 0.5)]);
}

#[test]
fn weights_of_clusters_and_endpoints_are_multiplied() {
    let split = "weighted_clusters: {clusters: [{name: heavy, weight: 80}, {name: two, weight: 20}]}";
    check(
        &listener("", &tcp(split)),
        &[("10.0.0.5:81", 60.0), ("10.0.0.6:81", 20.0), ("10.0.0.3:81", 10.0), ("10.0.0.4:81", 10.0)],
    );
    let half = "weighted_clusters: {clusters: [{name: one, weight: 1}, {name: none, weight: 1}]}";
    check(&listener("", &tcp(half)), &[("10.0.0.1:81", 0.5), ("10.0.0.2:81", 0.5), ("nowhere", 1.0)]);
}

#[test]
fn what_has_to_be_looked_at_timed_or_bridged_needs_the_agent() {
    let one = tcp("cluster: one");
    let inspector = ", listener_filters: [{name: h, typed_config: {'@type': \
                     type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector}}]";
    let default = format!(", default_filter_chain: {{filters: [{one}]}}");
    for listener in [
        listener(inspector, &one),
        listener(", use_original_dst: true", &one),
        listener("", &tcp("cluster: secure")),
        listener("", &tcp("weighted_clusters: {clusters: [{name: one, weight: 9}, {name: secure, weight: 1}]}")),
        listener(", traffic_direction: INBOUND", &one),
        listener("", &one).replace("bind_to_port: false", "bind_to_port: true"),
        listener("", &one).replace("10.96.0.1", "0.0.0.0"),
        listener("", &tcp("cluster: one, idle_timeout: 60s")),
        listener("", &tcp("cluster: six")),
        listener(&default, &one).replacen("filters:", "filter_chain_match: {destination_port: 80}, filters:", 1),
    ] {
        assert_eq!(services_of(&listener), [], "{listener}");
    }
    // A default chain that nothing reaches changes nothing.
    assert_eq!(services_of(&listener(&default, &one)).len(), 1);
}

#[test]
fn the_client_decides_in_one_cluster() {
    let hashed = |to: &str| listener("", &tcp(&format!("{to}, hash_policy: [{{source_ip: {{}}}}]")));
    let decides = |listener: &str| {
        let members =
            |service: &Arc<Service>| service.by_client.as_ref().map_or(0, |by_client| by_client.members.len());
        snapshot_of(listener).0.values().map(members).collect::<Vec<_>>()
    };
    assert_eq!(decides(&hashed("cluster: hashed")), [2]);
    // Where the cluster takes turns the client changes nothing, nor does a table that nobody asks by client.
    check(&hashed("cluster: one"), &[("10.0.0.1:81", 0.5), ("10.0.0.2:81", 0.5)]);
    assert_eq!(decides(&listener("", &tcp("cluster: hashed"))), [0]);
    // Dice first, and then a table for each outcome: the agent's.
    let between = |weight| {
        format!("weighted_clusters: {{clusters: [{{name: hashed, weight: 1}}, {{name: one, weight: {weight}}}]}}")
    };
    assert_eq!(decides(&hashed(&between(1))), [0; 0]);
}

#[test]
fn only_what_a_listener_could_take_is_claimed() {
    let all = |listeners: &[(&str, &str)]| {
        let listener = |(n, (address, fields)): (usize, &(&str, &str))| {
            format!(
                "  - {{name: l{n}, address: {{socket_address: {{address: '{address}', port_value: {}}}}}, bind_to_port: false, \
                 traffic_direction: INBOUND, filter_chains: [{{filters: [{}]}}]{fields}}}\n",
                80 + n,
                tcp("cluster: c")
            )
        };
        let listeners: String = listeners.iter().enumerate().map(listener).collect();
        let text = format!(
            "static_resources:\n  clusters:\n  - {{name: c, type: STATIC, load_assignment: {{cluster_name: c}}}}\n  \
             listeners:\n{listeners}"
        );
        let config = file::parse(&text, |_| Vec::new()).expect("a configuration");
        let (snapshot, _) = Builder::default().build(&config.listeners, &config.clusters, &HashMap::new());
        by_kernel(&snapshot).inbound
    };
    let ports = |ports: &[u16]| Claimed::Ports(ports.iter().copied().collect());
    let one = ["10.0.0.1".parse().expect("an address")];
    let claims = all(&[("0.0.0.0", ""), ("10.0.0.1", ""), ("10.0.0.2", "")]);
    assert_eq!(claims.of(&one), ports(&[80, 81]));
    assert_eq!(claims.of(&[]), ports(&[80, 81, 82]));
    assert_eq!(all(&[("0.0.0.0", ""), ("0.0.0.0", ", use_original_dst: true")]).of(&one), Claimed::All);
    // What is outbound claims nothing.
    assert_eq!(Claims::default().of(&one), ports(&[]));
    assert_eq!(ports(&[1, 2]).both(&ports(&[2, 3])), ports(&[2]));
    assert_eq!(ports(&[1, 2]).both(&Claimed::All), ports(&[1, 2]));
}

#[test]
fn udp_goes_to_endpoints_of_its_family() {
    let listener = |cluster: &str| {
        format!(
            "{{name: u, address: {{socket_address: {{protocol: UDP, address: 10.96.0.1, port_value: 53}}}}, bind_to_port: false, \
             listener_filters: [{{name: u, typed_config: {{'@type': \
             type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig, stat_prefix: u, cluster: \
             {cluster}}}}}]}}"
        )
    };
    let build = |cluster: &str, endpoints: &str| {
        let text = format!(
            "mesh: {{workloads: [{{name: w, cgroup: w}}]}}\nstatic_resources:\n  clusters:\n  - {{name: c, type: {cluster}, \
             load_assignment: {{cluster_name: c, endpoints: [{{lb_endpoints: [{endpoints}]}}]}}}}\n  listeners:\n  - {}\n",
            listener("c")
        );
        let config = file::parse(&text, |_| Vec::new()).expect("a configuration");
        let endpoint = |address: &str| Endpoint::new(address.parse().expect("an address"), 2);
        let endpoints = vec![endpoint("[fd00::1]:53"), endpoint("10.0.0.1:53")];
        let assignment = Roster { endpoints, ..Roster::default() };
        let set = Arc::new(EndpointSet::new(assignment, &config.clusters[0]));
        let mut builder = Builder::default();
        let (mut snapshot, _) = builder.build(&config.listeners, &config.clusters, &HashMap::new());
        let rejected = builder.add_udp(&mut snapshot, &config.udp_listeners);
        let resolved = builder.apply(vec![Change::Resolved("c".into(), set)]).snapshot.unwrap_or(builder.snapshot());
        (rejected, services(&snapshot), services(&resolved))
    };
    let endpoint = |address: &str| {
        format!("{{endpoint: {{address: {{socket_address: {{address: '{address}', port_value: 53}}}}}}}}")
    };
    let shares = |services: &Services| services.0.values().map(|it| it.shares.clone()).collect::<Vec<_>>();
    let (rejected, before, after) = build("STRICT_DNS", &endpoint("names.example.org"));
    assert_eq!((rejected, shares(&before)), (vec![], vec![vec![]]));
    assert_eq!(shares(&after), [[(Some("10.0.0.1:53".parse().expect("an address")), 0.5)]]);
    assert_eq!(after.0.keys().next(), Some(&(Protocol::Udp, "10.96.0.1:53".parse().expect("an address"))));
    let (rejected, none, _) = build("STATIC", &endpoint("fd00::1"));
    let rejected: Vec<_> = rejected.iter().map(ToString::to_string).collect();
    let reason = "listener u: UDP cannot be sent on to [fd00::1]:53, which is of the other address family";
    assert_eq!((rejected, none), (vec![reason.to_owned()], Services::default()));
}
