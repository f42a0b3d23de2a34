//! Resources one by one: what is taken, and how a refusal reads.

use crate::decode::resource;
use crate::file::yaml;
use crate::model::resource::{Resource, ResourceKind as Kind};

fn decode(kind: Kind, text: &str) -> Result<Resource, String> {
    let (root, errors) = yaml::parse(text);
    resource(kind, &root.expect("a tree"), errors).map_err(|refusal| refusal.to_string())
}

const CLUSTER: &str =
    "{ name: c, load_assignment: { cluster_name: c, endpoints: [{ lb_endpoints: [{ endpoint: { address: {
    socket_address: { address: 10.0.0.1, port_value: 80 } } } }] }] } }";

#[test]
fn a_resource_has_its_kind_and_name() {
    let taken = |kind, text| {
        let resource = decode(kind, text).expect("it is good");
        (resource.kind(), resource.name().to_owned())
    };
    assert_eq!(taken(Kind::Cluster, CLUSTER), (Kind::Cluster, "c".to_owned()));
    assert_eq!(taken(Kind::Endpoints, "{ cluster_name: e }"), (Kind::Endpoints, "e".to_owned()));
    let routes = "{ name: r, virtual_hosts: [{ name: v, domains: ['*'], routes: [
        { match: { prefix: / }, route: { cluster: comes_later } }] }] }";
    assert_eq!(taken(Kind::Route, routes), (Kind::Route, "r".to_owned()));
    let listener = "{ name: l, address: { socket_address: { address: 10.0.0.1, port_value: 80 } }, filter_chains: [
        { filters: [{ name: tcp, typed_config: { '@type': t/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy,
        stat_prefix: t, cluster: comes_later } }] }] }";
    assert_eq!(taken(Kind::Listener, listener), (Kind::Listener, "l".to_owned()));
}

#[test]
fn a_refusal_names_the_resource_and_every_field() {
    let refused = |kind, text: &str| decode(kind, text).expect_err("it is not good");
    let spoiled = CLUSTER.replace("name: c, load", "name: c, color: red, connect_timeout: 0s, load");
    let expected = "cluster \"c\": connect_timeout: must be more than 0s; color: not supported; supported here: name, ";
    let said = refused(Kind::Cluster, &spoiled);
    assert!(said.starts_with(expected), "{said}");
    assert_eq!(refused(Kind::Endpoints, "{}"), "endpoints without a name: cluster_name: required");
    assert_eq!(
        refused(Kind::Secret, "{ name: s, tls_certificate: {} }"),
        "secret \"s\": not supported: there is no TLS yet"
    );
    let tls = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
    let socket = format!("transport_socket: {{ name: tls, typed_config: {{ '@type': t/{tls} }} }}");
    assert_eq!(
        refused(Kind::Cluster, &CLUSTER.replace("name: c, load", &format!("name: c, {socket}, load"))),
        format!(
            "cluster \"c\": transport_socket.typed_config[\"@type\"]: {tls} is not supported: there is TLS to management \
             servers only yet"
        )
    );
}

#[test]
fn a_refusal_does_not_grow_without_end() {
    let strangers: String = (0..100).map(|index| format!("unheard_of_{index}: 1, ")).collect();
    let refused = decode(Kind::Endpoints, &format!("{{ cluster_name: e, {strangers} }}")).expect_err("strangers");
    assert_eq!(refused.matches("not supported").count(), 10);
    assert!(refused.ends_with("; and 90 more"), "{refused}");
}
