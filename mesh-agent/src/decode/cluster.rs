//! `envoy.config.cluster.v3.Cluster`.

use std::sync::Arc;
use std::time::Duration;

use crate::decode::chain::{RAW_BUFFER, TRANSPORT_SOCKET};
use crate::decode::endpoint::{ASSIGNMENT, Sites, load_assignment};
use crate::decode::fields::{Fields, read_any};
use crate::decode::fraction::{PERCENT, percent};
use crate::decode::http_options::{HTTP1, HTTP2, http2_options, upstream_http1};
use crate::decode::kind::Kind;
use crate::decode::management::{CONFIG_SOURCE, config_source};
use crate::decode::problem::Problem;
use crate::decode::tls::{DOWNSTREAM as SERVER_TLS, UPSTREAM as CLIENT_TLS, upstream};
use crate::model::cluster::{
    BalancePolicy, Cluster, DEFAULT_PANIC_THRESHOLD, Discovery, DnsFamily, Eds, TableSize, UpstreamProtocol,
};
use crate::model::name::ClusterName;
use crate::model::tls::UpstreamTls;

pub(crate) const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const EXPLICIT: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig";
const DOWNSTREAM: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig";

const COMMON: &str = "envoy.config.cluster.v3.Cluster.CommonLbConfig";
const WEIGHTED_LOCALITIES: &str = "envoy.config.cluster.v3.Cluster.CommonLbConfig.LocalityWeightedLbConfig";

const CONSISTENT: &str = "envoy.config.cluster.v3.Cluster.CommonLbConfig.ConsistentHashingLbConfig";
const MAGLEV: &str = "envoy.config.cluster.v3.Cluster.MaglevLbConfig";
const EDS_CONFIG: &str = "envoy.config.cluster.v3.Cluster.EdsClusterConfig";
/// Of what a listener has, at a cluster.
const CLIENT: &str = "a cluster is connected to: write UpstreamTlsContext";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REFRESH: Duration = Duration::from_secs(5);
const REFRESH_AT_LEAST: Duration = Duration::from_millis(1);

pub(crate) fn cluster(fields: &Fields<'_>) -> Option<Cluster> {
    let name = fields.name("name").map(ClusterName::from);
    let discovery = discovery(fields, name.as_ref());
    let connect_timeout = fields.positive_duration("connect_timeout").unwrap_or(CONNECT_TIMEOUT);
    let common = fields.message("common_lb_config", COMMON, common).unwrap_or_default();
    let balance = balance(fields, common.by_hostname);
    let protocol = protocol(fields);
    let tls = transport_socket(fields);
    fields.only_flag("respect_dns_ttl", false);
    fields.only_flag("use_tcp_for_dns_lookups", false);
    fields.only_flag("ignore_health_on_host_removal", false);
    fields.only_flag("close_connections_on_host_health_failure", false);
    for later in ["circuit_breakers", "health_checks", "outlier_detection", "lb_subset_config"] {
        fields.refuse(later, "it is not there yet");
    }
    Some(Cluster {
        name: name?,
        discovery: discovery?,
        connect_timeout,
        protocol,
        tls,
        balance,
        panic_threshold: common.panic_threshold,
        weighs_localities: common.weighs_localities,
    })
}

/// Plain, or TLS.
fn transport_socket(fields: &Fields<'_>) -> Option<Box<UpstreamTls>> {
    fields.refuse("transport_socket_matches", "all endpoints of a cluster are reached alike: write transport_socket");
    fields.message("transport_socket", TRANSPORT_SOCKET, |fields| {
        fields.require_text("name");
        let plain = |_: &Fields<'_>| Some(None);
        let secure = |fields: &Fields<'_>| upstream(fields).map(|tls| Some(Box::new(tls)));
        fields.any("typed_config", &[(RAW_BUFFER, &plain), (CLIENT_TLS, &secure)], &[(SERVER_TLS, CLIENT)])
    })?
}

fn discovery(fields: &Fields<'_>, name: Option<&ClusterName>) -> Option<Discovery> {
    fields.one_of(&["type"], &[("cluster_type", "write type: STATIC, STRICT_DNS or EDS")]);
    let eds = fields.message("eds_cluster_config", EDS_CONFIG, |fields| eds(fields, name));
    let later = [
        ("LOGICAL_DNS", 2, "write STRICT_DNS"),
        ("ORIGINAL_DST", 4, "what no listener matches is passed through anyway"),
    ];
    let types = [("STATIC", 0, Type::Static), ("STRICT_DNS", 1, Type::Names), ("EDS", 3, Type::Eds)];
    let kind = fields.choice_or_later("type", &types, &later);
    let family = fields.choice(
        "dns_lookup_family",
        &[
            ("AUTO", 0, DnsFamily::Auto),
            ("V4_ONLY", 1, DnsFamily::V4Only),
            ("V6_ONLY", 2, DnsFamily::V6Only),
            ("V4_PREFERRED", 3, DnsFamily::V4Preferred),
            ("ALL", 4, DnsFamily::All),
        ],
    );
    let refresh = fields.duration("dns_refresh_rate");
    if refresh.is_some_and(|refresh| refresh <= REFRESH_AT_LEAST)
        && let Some(at) = fields.get("dns_refresh_rate", &Kind::Duration)
    {
        at.rule("must be more than 0.001s");
    }
    let written = fields.get("load_assignment", &Kind::Message(ASSIGNMENT));
    let discovered = fields.get("eds_cluster_config", &Kind::Message(EDS_CONFIG));
    match (kind, &written, &discovered) {
        (Some(Type::Eds), Some(at), _) => at.rule("endpoints of type EDS come as a resource of their own"),
        (Some(Type::Eds), None, None) => fields.missing("eds_cluster_config"),
        (Some(Type::Static | Type::Names), None, _) => fields.missing("load_assignment"),
        _ => {}
    }
    if let (Some(Type::Static | Type::Names), Some(at)) = (kind, &discovered) {
        at.rule("only a cluster of type EDS has its endpoints elsewhere");
    }
    // Endpoints of a type that is refused may be anywhere; names are the form that allows most.
    let names = kind != Some(Type::Static);
    let sites = fields.message("load_assignment", ASSIGNMENT, |fields| load_assignment(fields, names));
    if kind? == Type::Eds {
        return eds.map(Discovery::Eds);
    }
    match sites? {
        Sites::Addresses(assignment) => Some(Discovery::Static(assignment)),
        Sites::Names(hosts) => Some(Discovery::StrictDns { hosts, refresh: refresh.unwrap_or(REFRESH), family }),
    }
}

/// `Cluster.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Static,
    Names,
    Eds,
}

/// `name` is the cluster's, by which its endpoints are asked for if nothing else is said.
fn eds(fields: &Fields<'_>, name: Option<&ClusterName>) -> Option<Eds> {
    let source = fields.require_message("eds_config", CONFIG_SOURCE, config_source);
    let service = fields.name("service_name").map(Arc::from).or_else(|| name.map(ClusterName::shared));
    Some(Eds { service: service?, source: source? })
}

fn balance(fields: &Fields<'_>, by_hostname: bool) -> BalancePolicy {
    const LATER: &str = "there are only ROUND_ROBIN and MAGLEV yet";
    let later = [
        ("LEAST_REQUEST", 1, LATER),
        ("RING_HASH", 2, LATER),
        ("RANDOM", 3, LATER),
        ("CLUSTER_PROVIDED", 6, LATER),
        ("LOAD_BALANCING_POLICY_CONFIG", 7, LATER),
    ];
    fields.refuse("load_balancing_policy", LATER);
    for other in ["least_request_lb_config", "ring_hash_lb_config", "round_robin_lb_config"] {
        fields.refuse(other, LATER);
    }
    let maglev = fields.choice_or_later("lb_policy", &[("ROUND_ROBIN", 0, false), ("MAGLEV", 5, true)], &later);
    let size = fields.message("maglev_lb_config", MAGLEV, |fields| {
        let Some(at) = fields.get("table_size", &Kind::Integer(2, TableSize::MOST.into())) else {
            return Some(TableSize::default());
        };
        let size = at.integer(2, TableSize::MOST.into())?;
        let size = u64::try_from(size).ok().and_then(TableSize::new);
        size.or_else(|| {
            at.rule("must be a prime");
            None
        })
    });
    match maglev {
        Some(true) => BalancePolicy::Maglev { size: size.unwrap_or_default(), by_hostname },
        Some(false) => {
            if let Some(at) = fields.get("maglev_lb_config", &Kind::Message(MAGLEV)) {
                at.rule("only with lb_policy: MAGLEV");
            }
            BalancePolicy::RoundRobin
        }
        None => BalancePolicy::RoundRobin,
    }
}

/// `CommonLbConfig`.
struct Common {
    panic_threshold: u32,
    weighs_localities: bool,
    by_hostname: bool,
}

impl Default for Common {
    fn default() -> Self {
        Self { panic_threshold: DEFAULT_PANIC_THRESHOLD, weighs_localities: false, by_hostname: false }
    }
}

fn common(fields: &Fields<'_>) -> Option<Common> {
    let threshold = fields.message("healthy_panic_threshold", PERCENT, percent);
    fields.one_of(
        &["locality_weighted_lb_config"],
        &[("zone_aware_lb_config", "there is no local cluster to compare with")],
    );
    let weighs = fields.message("locality_weighted_lb_config", WEIGHTED_LOCALITIES, |_| Some(()));
    fields.refuse("update_merge_window", "a change goes live at once");
    fields.only_flag("ignore_new_hosts_until_first_hc", false);
    fields.only_flag("close_connections_on_host_set_change", false);
    let by_hostname = fields.message("consistent_hashing_lb_config", CONSISTENT, |fields| {
        fields.refuse("hash_balance_factor", "a table does not know how busy its endpoints are");
        Some(fields.flag("use_hostname_for_hashing", false))
    });
    fields.refuse("override_host_status", "no filter chooses an endpoint by itself");
    Some(Common {
        panic_threshold: threshold.unwrap_or(DEFAULT_PANIC_THRESHOLD),
        weighs_localities: weighs.is_some(),
        by_hostname: by_hostname.unwrap_or(false),
    })
}

/// What is spoken to the endpoints: by the extension, or by the deprecated fields that Envoy still takes.
fn protocol(fields: &Fields<'_>) -> UpstreamProtocol {
    let mut chosen = None;
    fields.free_map("typed_extension_protocol_options", Kind::Any(vec![HTTP_OPTIONS]), |key, at| {
        if key == HTTP_OPTIONS {
            chosen = read_any(at, &[(HTTP_OPTIONS, &http_options)], &[]);
        } else {
            at.report(Problem::UnknownType { found: key.to_owned(), supported: vec![HTTP_OPTIONS] });
        }
    });
    let names = ["typed_extension_protocol_options", "http2_protocol_options", "http_protocol_options"];
    fields.one_of(&names, &[]);
    let http1 = fields.message("http_protocol_options", HTTP1, upstream_http1).map(|()| UpstreamProtocol::Http1);
    let http2 = fields.message("http2_protocol_options", HTTP2, http2_options).map(UpstreamProtocol::Http2);
    chosen.or(http1).or(http2).unwrap_or_default()
}

fn http_options(fields: &Fields<'_>) -> Option<UpstreamProtocol> {
    fields.require_one_of(
        &["explicit_http_config", "use_downstream_protocol_config"],
        &[("auto_config", "write which protocol the endpoints speak")],
    );
    let explicit = fields.message("explicit_http_config", EXPLICIT, |fields| {
        let names = ["http_protocol_options", "http2_protocol_options"];
        fields.require_one_of(&names, &[("http3_protocol_options", "there is no HTTP/3")]);
        let http1 = fields.message("http_protocol_options", HTTP1, upstream_http1);
        let http2 = fields.message("http2_protocol_options", HTTP2, http2_options);
        http1.map(|()| UpstreamProtocol::Http1).or(http2.map(UpstreamProtocol::Http2))
    });
    let downstream = fields.message("use_downstream_protocol_config", DOWNSTREAM, |fields| {
        fields.refuse("http3_protocol_options", "there is no HTTP/3");
        fields.message("http_protocol_options", HTTP1, upstream_http1);
        let http2 = fields.message("http2_protocol_options", HTTP2, http2_options);
        Some(UpstreamProtocol::Downstream(http2.unwrap_or_default()))
    });
    explicit.or(downstream)
}
