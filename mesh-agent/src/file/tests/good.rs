//! Good configurations: what becomes of fields, and of their absence.

use std::net::SocketAddr;
use std::time::Duration;

use super::{COMPLETE, decode};
use crate::model::cluster::{Discovery, DnsFamily, Http2Options, UpstreamProtocol};
use crate::model::config::{Config, Mesh};
use crate::model::endpoint::{Health, Roster};
use crate::model::extension::{Place, Router};
use crate::model::filter::{Codec, HttpConnectionManager, NetworkFilter, RouteSource, ServerHeader, TcpProxy};
use crate::model::flow::Direction;
use crate::model::listener::Detect;
use crate::model::route::{
    Action, Domain, HostRewrite, IdleTimeout, PathRewrite, RedirectPath, RedirectScheme, RouteConfig,
};
use crate::model::tls::{DataSource, Kept, Versions};
use crate::model::workload::Mode;

const GATEWAY: &str = include_str!("../../../testdata/gateway.yaml");
const JSON: &str = include_str!("../../../testdata/gateway.json");

#[test]
fn nothing_is_a_configuration() {
    for text in ["", "# nothing\n", "{}", "---\n{}\n", "static_resources: {}", "static_resources:\nnode: ~\n"] {
        assert_eq!(decode(text), Ok(Config::default()), "{text:?}");
    }
}

#[test]
fn what_is_not_set_has_envoys_default() {
    let config = decode(GATEWAY).unwrap();
    assert_eq!((&config.mesh, config.admin), (&Mesh::default(), None));
    let listener = &config.listeners[0];
    assert_eq!(listener.name.as_str(), "gateway");
    assert!(listener.bind && !listener.catch_all && listener.detect.is_none() && listener.default_chain.is_none());
    assert_eq!(listener.direction, Direction::Outbound);

    let http = http(&config, 0);
    assert_eq!(
        (http.codec, http.server_header, http.server_name.as_str()),
        (Codec::Auto, ServerHeader::Overwrite, "bowline")
    );
    assert_eq!((http.max_request_headers_kb, http.max_headers_count, http.xff_num_trusted_hops), (60, 100, 0));
    assert_eq!((http.idle_timeout, http.stream_idle_timeout), (seconds(3600), seconds(300)));
    assert_eq!((http.request_timeout, http.request_headers_timeout, http.via.clone()), (None, None, None));
    assert!(http.generate_request_id && !http.preserve_external_request_id && !http.use_remote_address);
    assert_eq!((http.upgrades.len(), http.http2), (0, Http2Options::default()));

    let Action::Forward(forward) = &routes(http).virtual_hosts[0].routes[0].action else { panic!("forward") };
    assert_eq!((forward.timeout, forward.idle_timeout), (seconds(15), IdleTimeout::Inherit));
    assert_eq!(
        (&forward.host, &forward.path, forward.cluster_not_found.as_u16()),
        (&HostRewrite::Keep, &PathRewrite::Keep, 503)
    );
    let cluster = &config.clusters[0];
    assert_eq!((cluster.connect_timeout, cluster.protocol), (Duration::from_secs(5), UpstreamProtocol::Http1));
    assert!(matches!(&cluster.discovery, Discovery::Static(assignment) if assignment.endpoints[0].weight == 1));
}

#[test]
fn what_is_set_is_taken() {
    let config = decode(COMPLETE).unwrap();
    assert_eq!(config.admin, Some("127.0.0.1:9901".parse().unwrap()));
    let workload = &config.mesh.workloads[0];
    assert_eq!((workload.mode, workload.addresses.len(), workload.labels.len()), (Mode::Enforce, 2, 2));
    let excluded: Vec<_> = config.mesh.kernel.exclude_cidrs.iter().map(ToString::to_string).collect();
    assert_eq!(excluded, ["169.254.0.0/16", "fe80::/10", "10.9.9.9/32"]);

    let gateway = &config.listeners[0];
    assert_eq!(gateway.detect, Some(Detect { timeout: Duration::from_millis(500), continue_on_timeout: true }));
    assert!(gateway.catch_all && gateway.bind);
    let matches = &gateway.chains[0].matches;
    assert_eq!(matches.source[0].to_string(), "192.168.0.0/16", "bits behind the prefix do not count");
    assert_eq!((matches.destination_port, matches.source_ports.as_slice()), (Some(80), &[1024, 65535][..]));
    assert_eq!(tcp(&gateway.default_chain.as_ref().unwrap().filter).idle_timeout, None);

    let redis = &config.listeners[2];
    assert_eq!((redis.bind, redis.direction, redis.address), (false, Direction::Inbound, socket("10.96.0.7:6379")));
    assert_eq!(tcp(&redis.chains[0].filter).clusters.len(), 2);
    assert_eq!(tcp(&redis.chains[0].filter).idle_timeout, seconds(3600));

    let protocols: Vec<_> = config.clusters.iter().map(|cluster| cluster.protocol).collect();
    let hundred = Http2Options { max_concurrent_streams: Some(100), ..Http2Options::default() };
    let default = Http2Options::default();
    assert_eq!(
        protocols[3..],
        [
            UpstreamProtocol::Http2(hundred),
            UpstreamProtocol::Http1,
            UpstreamProtocol::Downstream(default),
            UpstreamProtocol::Http2(default),
            UpstreamProtocol::Http1,
            UpstreamProtocol::Http2(default),
            UpstreamProtocol::Http1,
            UpstreamProtocol::Http1,
        ]
    );
    let Discovery::Static(Roster { endpoints, policy }) = &config.clusters[0].discovery else { panic!("static") };
    assert_eq!((policy.overprovisioning, policy.weighted_health, policy.drop_per_million), (150, true, 2500));
    let place = |at: usize| (endpoints[at].health, endpoints[at].group.priority, endpoints[at].group.weight);
    assert_eq!((place(0), place(1)), ((Health::Draining, 1, 7), (Health::Unknown, 0, 0)), "a weight needs a locality");
    assert_eq!(endpoints[0].group.locality.zone, "z");
    assert_eq!((config.clusters[0].panic_threshold, config.clusters[0].weighs_localities), (13, true));
    assert_eq!((endpoints.len(), endpoints[0].weight, endpoints[1].address), (2, 3, socket("[fd00::3]:80")));
    assert_eq!(endpoints[0].hostname.as_deref(), Some("one.example.org"));
    let Discovery::StrictDns { hosts, refresh, family } = &config.clusters[1].discovery else { panic!("DNS") };
    assert_eq!((hosts.endpoints.len(), *refresh, *family), (2, Duration::from_secs(10), DnsFamily::V4Preferred));
}

#[test]
fn routes_are_taken() {
    let config = decode(COMPLETE).unwrap();
    let http = http(&config, 0);
    assert_eq!(http.upgrades, ["websocket"], "what is not enabled is not there");
    assert!(http.accept_http_10 && http.router == Place::Fixed(Router { suppress_envoy_headers: true }));
    let [shop, _] = routes(http).virtual_hosts.as_slice() else { panic!("two virtual hosts") };
    assert_eq!(
        shop.domains[1..],
        [
            Domain::Exact("shop.example.org:8080".into()),
            Domain::Suffix(".shop.example.org".into()),
            Domain::Prefix("shop.".into()),
        ]
    );
    assert_eq!(shop.routes[0].matches.headers[0].name, "x-user", "names are in lower case");
    let forward = |index: usize| match &shop.routes[index].action {
        Action::Forward(forward) => forward,
        other => panic!("{other:?}"),
    };
    assert_eq!(forward(0).timeout, None, "0s is no limit");
    assert_eq!(forward(0).idle_timeout, IdleTimeout::After(Duration::from_secs(5)));
    assert_eq!(forward(0).clusters.iter().map(|cluster| cluster.weight).collect::<Vec<_>>(), [90, 10]);
    assert_eq!(forward(0).upgrades, [("websocket".to_owned(), true)]);
    assert_eq!(forward(1).host, HostRewrite::Auto);
    assert_eq!(
        (&forward(2).host, forward(2).idle_timeout),
        (&HostRewrite::Header("x-host".into()), IdleTimeout::Never)
    );
    let Action::Redirect(redirect) = &shop.routes[3].action else { panic!("redirect") };
    assert_eq!((redirect.status.as_u16(), redirect.port, &redirect.scheme), (303, Some(8443), &RedirectScheme::Https));
    let Action::Redirect(redirect) = &shop.routes[4].action else { panic!("redirect") };
    assert_eq!((&redirect.path, redirect.port), (&RedirectPath::Prefix("/old".into()), None));
}

#[test]
fn tls_is_taken_and_shows_no_key() {
    let config = decode(COMPLETE).unwrap();
    let tls = |name: &str| config.clusters.iter().find(|it| it.name.as_str() == name).unwrap().tls.clone().unwrap();
    let secure = tls("secure");
    let secrets: Vec<_> = secure.secrets().map(|it| (&*it.name, it.source.initial_fetch_timeout)).collect();
    assert_eq!(secrets, [("default", seconds(15)), ("ROOTCA", seconds(1))]);
    assert!(secure.by_sni && secure.trust.here.names.len() == 1 && secure.trust.here.trusted.is_none());
    assert_eq!((secure.versions, secure.alpn.as_slice()), (Versions::Both, &["istio".to_owned(), "h2".to_owned()][..]));
    let anybody = tls("anybody");
    assert!(anybody.trust.here.accepts_anybody && anybody.trust.secret.is_none());
    let Some(Kept::Here(certificate)) = &anybody.identity else { panic!("{anybody:?}") };
    assert_eq!(certificate.chain, DataSource::Inline("-----BEGIN".into()));
    assert_eq!(format!("{:?}", certificate.key), "Inline([27 bytes])");
    assert_eq!(tls("checked").versions, Versions::Tls13);
    let server = &config.dynamic.as_ref().unwrap().ads.as_ref().unwrap().servers[2];
    assert_eq!(server.tls.as_ref().unwrap().sni.as_deref(), Some("istiod.istio-system.svc"));
    assert!(config.clusters.iter().all(|it| it.name.as_str() != "istiod"), "nothing else is sent there");
}

#[test]
fn json_is_read_too() {
    let json = decode(JSON).unwrap();
    assert_eq!(json, decode(GATEWAY).unwrap());
    assert_eq!(decode(&JSON.replace("  ", "\t")).unwrap(), json, "indented by tabs");
    let short: String = JSON.lines().map(str::trim_start).collect();
    assert_eq!(decode(&short).unwrap(), json, "on one line");
}

#[test]
fn an_inspector_without_deadline_never_stalls() {
    let detect = |fields: &str| {
        let inspector = "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector";
        let filters = format!(r#"[{{ name: http, typed_config: {{ "@type": t/{inspector} }} }}]"#);
        let text = GATEWAY
            .replace("    filter_chains:", &format!("    listener_filters: {filters}\n{fields}    filter_chains:"));
        let detect = decode(&text).unwrap().listeners[0].detect.unwrap();
        (detect.timeout.as_millis(), detect.continue_on_timeout)
    };
    assert_eq!(detect(""), (300, true));
    assert_eq!(detect("    continue_on_listener_filters_timeout: true\n"), (300, true));
    assert_eq!(detect("    listener_filters_timeout: 2s\n"), (2000, false), "then as Envoy does");
}

#[test]
fn anchors_save_writing() {
    let text = "!ignore shared: &where { socket_address: { address: 127.0.0.1, port_value: 9901 } }\n\
                admin: { address: *where }\n";
    assert_eq!(decode(text).unwrap().admin, Some(socket("127.0.0.1:9901")));
}

fn http(config: &Config, listener: usize) -> &HttpConnectionManager {
    match &config.listeners[listener].chains[0].filter {
        NetworkFilter::Http(http) => http,
        NetworkFilter::Tcp(_) => panic!("TCP"),
    }
}

fn routes(http: &HttpConnectionManager) -> &RouteConfig {
    match &http.routes {
        RouteSource::Inline(routes) => routes,
        RouteSource::Discovered(_) | RouteSource::Scoped(_) => panic!("discovered"),
    }
}

fn tcp(filter: &NetworkFilter) -> &TcpProxy {
    match filter {
        NetworkFilter::Tcp(tcp) => tcp,
        NetworkFilter::Http(_) => panic!("HTTP"),
    }
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
