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
        refused(Kind::Secret, "{ name: s, tls_certificate: {}, generic_secret: {} }"),
        "secret \"s\": generic_secret: not supported: nothing that is supported needs one; only one of tls_certificate and \
         generic_secret may be set; tls_certificate.certificate_chain: required; tls_certificate.private_key: required"
    );
    let tls = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
    let with_tls = |common: &str| {
        let config = format!("{{ '@type': t/{tls}, common_tls_context: {common} }}");
        let socket = format!("transport_socket: {{ name: tls, typed_config: {config} }}");
        refused(Kind::Cluster, &CLUSTER.replace("name: c, load", &format!("name: c, {socket}, load")))
    };
    let place = "cluster \"c\": transport_socket.typed_config.common_tls_context";
    assert_eq!(with_tls("{ validation_context: {} }"), format!("{place}.validation_context.trusted_ca: required"));
    let sds = "{ name: ca, sds_config: { api_config_source: {} } }";
    let said = with_tls(&format!("{{ validation_context_sds_secret_config: {sds} }}"));
    let expected = ".validation_context_sds_secret_config.sds_config.api_config_source: not supported: ";
    assert!(said.starts_with(&format!("{place}{expected}")), "{said}");
}

#[test]
fn a_key_is_not_repeated_in_a_refusal() {
    let secret = |key: &str| {
        let chain = "certificate_chain: { inline_string: chain }";
        let text = format!("{{ name: s, tls_certificate: {{ {chain}, private_key: {key} }} }}");
        decode(Kind::Secret, &text).expect_err("it is not good")
    };
    for key in ["{ inline_bytes: 'TOPSECRET!' }", "{ inline_string: x, inline_bytes: TOPSECRET= }"] {
        let said = secret(key);
        assert!(said.contains("private_key") && !said.contains("SECRET"), "{said}");
    }
}

#[test]
fn a_refusal_does_not_grow_without_end() {
    let strangers: String = (0..100).map(|index| format!("unheard_of_{index}: 1, ")).collect();
    let refused = decode(Kind::Endpoints, &format!("{{ cluster_name: e, {strangers} }}")).expect_err("strangers");
    assert_eq!(refused.matches("not supported").count(), 10);
    assert!(refused.ends_with("; and 90 more"), "{refused}");
}
