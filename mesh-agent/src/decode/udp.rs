//! UDP listeners (`envoy.config.listener.v3.Listener` with a UDP address) and their one listener filter, the UDP proxy.
//!
//! The kernel serves them, for workloads, and nothing else does: what it cannot do is refused here by name.

use std::net::SocketAddr;

use crate::decode::chain::CHAIN;
use crate::decode::fields::Fields;
use crate::decode::kind::Kind;
use crate::decode::listener::LISTENER_FILTER;
use crate::decode::problem::Problem;
use crate::decode::tcp::require_cluster_name;
use crate::model::listener::{UdpListener, UdpProxy};
use crate::model::name::{ClusterName, ListenerName};

const UDP_PROXY: &str = "envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig";
const ROUTE: &str = "envoy.extensions.filters.udp.udp_proxy.v3.Route";
const HASH_POLICY: &str = "envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig.HashPolicy";
const MATCHER: &str = "xds.type.matcher.v3.Matcher";
const ON_MATCH: &str = "xds.type.matcher.v3.Matcher.OnMatch";
const ACTION: &str = "xds.core.v3.TypedExtensionConfig";

const UNSEEN: &str = "the kernel serves UDP and looks into no datagram";

/// What is left of a listener once its name and its address are known.
pub(crate) fn udp_listener(
    fields: &Fields<'_>,
    name: Option<ListenerName>,
    address: SocketAddr,
) -> Option<UdpListener> {
    if address.ip().is_unspecified() {
        fields.at().rule("a UDP listener needs an address of its own: the kernel finds it by address and port");
    }
    if fields.flag("bind_to_port", true) {
        fields.at().rule("a UDP listener is served by the kernel, for workloads; write bind_to_port: false");
    }
    fields.choice("traffic_direction", &[("UNSPECIFIED", 0, ()), ("OUTBOUND", 2, ())]);
    for chains in ["filter_chains", "default_filter_chain"] {
        if let Some(at) = fields.get(chains, &Kind::Message(CHAIN)) {
            at.report(Problem::Refused("a UDP listener has listener filters only"));
        }
    }
    fields.only_flag("use_original_dst", false);
    let mut filters = fields.messages("listener_filters", LISTENER_FILTER, |fields| {
        fields.require_text("name");
        fields.refuse("filter_disabled", "a listener filter always runs");
        fields.refuse("config_discovery", "it comes with xDS; use typed_config");
        fields.any("typed_config", &[(UDP_PROXY, &udp_proxy)], &[])
    });
    match fields.get("listener_filters", &Kind::list(Kind::Message(LISTENER_FILTER))) {
        Some(at) if at.list().is_some_and(|filters| filters.len() != 1) => {
            at.rule("must be exactly one filter: udp_proxy");
        }
        Some(_) => {}
        None => fields.missing("listener_filters"),
    }
    Some(UdpListener {
        name: name.unwrap_or_else(|| ListenerName::from(format!("udp {address}"))),
        address,
        proxy: filters.pop()?,
    })
}

fn udp_proxy(fields: &Fields<'_>) -> Option<UdpProxy> {
    let stat_prefix = fields.require_text("stat_prefix").map(str::to_owned);
    fields.require_one_of(&["cluster", "matcher"], &[]);
    let cluster = if fields.get("cluster", &Kind::Text).is_some() {
        require_cluster_name(fields, "cluster")
    } else {
        fields.message("matcher", MATCHER, matcher)
    };
    fields.refuse("idle_timeout", "a flow lasts as long as its socket");
    fields.refuse("use_original_src_ip", "an endpoint always sees the client's own address");
    let policies = fields.messages("hash_policies", HASH_POLICY, |fields| {
        let policy = fields.require_one_of(&["source_ip"], &[("key", "all clients would come to one endpoint")])?;
        if !fields.flag(policy, true)
            && let Some(at) = fields.get(policy, &Kind::Flag)
        {
            at.rule("must be true");
        }
        Some(())
    });
    let by_client = !policies.is_empty();
    fields.refuse("upstream_socket_config", "the socket is the app's own");
    fields.only_flag("use_per_packet_load_balancing", false);
    for log in ["access_log", "proxy_access_log", "access_log_options"] {
        fields.refuse(log, "there are no access logs yet");
    }
    fields.refuse("session_filters", UNSEEN);
    fields.refuse("tunneling_config", UNSEEN);
    Some(UdpProxy { stat_prefix: stat_prefix?, by_client, cluster: cluster? })
}

/// A matcher that matches nothing: all goes to one cluster.
fn matcher(fields: &Fields<'_>) -> Option<ClusterName> {
    fields.refuse("matcher_list", UNSEEN);
    fields.refuse("matcher_tree", UNSEEN);
    fields.require_message("on_no_match", ON_MATCH, |fields| {
        fields.require_one_of(&["action"], &[("matcher", UNSEEN)]);
        fields.only_flag("keep_matching", false);
        fields.message("action", ACTION, |fields| {
            fields.require_text("name");
            fields.any("typed_config", &[(ROUTE, &|fields| require_cluster_name(fields, "cluster"))], &[])
        })
    })
}
