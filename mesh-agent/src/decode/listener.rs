//! `envoy.config.listener.v3.Listener`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::decode::address::{ADDRESS, listener_address};
use crate::decode::chain::{self, CHAIN};
use crate::decode::fields::Fields;
use crate::decode::kind::Kind;
use crate::decode::udp::udp_listener;
use crate::decode::unique::Unique;
use crate::model::flow::Direction;
use crate::model::listener::{Detect, FilterChain, Listener, UdpListener};
use crate::model::name::ListenerName;
use crate::model::service::Protocol;

pub(crate) const LISTENER: &str = "envoy.config.listener.v3.Listener";
pub(crate) const LISTENER_FILTER: &str = "envoy.config.listener.v3.ListenerFilter";
const HTTP_INSPECTOR: &str = "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector";
const ORIGINAL_DST: &str = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst";
const TLS_INSPECTOR: &str = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";

/// How long a silent client is waited for if the configuration doesn't say. Envoy waits 15 s and then closes; a protocol in
/// which the server speaks first would stall and break, so here the connection is soon taken for opaque.
const DETECT: Detect = Detect { timeout: Duration::from_millis(300), continue_on_timeout: true };
/// Bytes of one direction that wait at most: a stream's window of HTTP/2, and more than HTTP/1 or opaque bytes ever hold.
const MOST_BUFFERED: u32 = 1 << 20;

/// What the listeners of one configuration must not share.
#[derive(Debug)]
pub(crate) struct Listeners {
    names: Unique,
    bound: Unique,
    destinations: Unique,
    catch_all: Unique,
}

impl Default for Listeners {
    fn default() -> Self {
        Self {
            names: Unique::new("listener"),
            bound: Unique::new("address"),
            destinations: Unique::new("address"),
            catch_all: Unique::new("the catch-all of direction"),
        }
    }
}

/// A listener of either kind.
#[derive(Debug)]
pub(crate) enum AnyListener {
    Tcp(Listener),
    Udp(UdpListener),
}

pub(crate) fn listener(fields: &Fields<'_>, taken: &Listeners) -> Option<AnyListener> {
    let name = fields.name("name").map(ListenerName::from);
    if let (Some(name), Some(at)) = (&name, fields.get("name", &Kind::Text)) {
        taken.names.claim(name.to_string(), &at);
    }
    let (protocol, address) = fields.require_message("address", ADDRESS, listener_address).unzip();
    if let (Some(Protocol::Udp), Some(address)) = (protocol, address) {
        if let Some(at) = fields.get("address", &Kind::Message(ADDRESS)) {
            taken.destinations.claim(format!("{address} UDP"), &at);
        }
        only_defaults(fields);
        return udp_listener(fields, name, address).map(AnyListener::Udp);
    }
    tcp_listener(fields, taken, name, address).map(AnyListener::Tcp)
}

fn tcp_listener(
    fields: &Fields<'_>,
    taken: &Listeners,
    name: Option<ListenerName>,
    address: Option<SocketAddr>,
) -> Option<Listener> {
    let direction = fields.choice(
        "traffic_direction",
        &[
            ("UNSPECIFIED", 0, Direction::Outbound),
            ("INBOUND", 1, Direction::Inbound),
            ("OUTBOUND", 2, Direction::Outbound),
        ],
    );
    let bind = fields.flag("bind_to_port", true);
    let catch_all = fields.flag("use_original_dst", false);
    let (chains, default_chain) = chains(fields);
    let detect = detect(fields);
    if detect.is_none()
        && let Some(at) = fields.get("filter_chains", &Kind::Message(CHAIN))
        && chains.iter().any(|chain| !chain.matches.application_protocols.is_empty())
    {
        at.rule("application_protocols can only match with the http_inspector listener filter");
    }
    // Any limit from here on is kept without looking at it: what waits is bounded by these bytes already.
    fields.number("per_connection_buffer_limit_bytes", MOST_BUFFERED..=u32::MAX);
    only_defaults(fields);
    if let Some(address) = address {
        claim(fields, taken, address, direction, bind, catch_all);
    }
    Some(Listener {
        // Envoy makes a name up as well.
        name: name.or_else(|| Some(ListenerName::from(address?.to_string())))?,
        address: address?,
        bind,
        catch_all,
        direction,
        detect,
        chains,
        default_chain,
    })
}

fn chains(fields: &Fields<'_>) -> (Vec<FilterChain>, Option<FilterChain>) {
    let matches = Unique::new("match");
    let chains = fields.messages("filter_chains", CHAIN, |fields| chain::chain(fields, Some(&matches)));
    let default = fields.message("default_filter_chain", CHAIN, |fields| chain::chain(fields, None));
    let has_default = fields.get("default_filter_chain", &Kind::Message(CHAIN)).is_some();
    let written = fields.get("filter_chains", &Kind::list(Kind::Message(CHAIN)));
    if !has_default && written.is_none_or(|at| at.node.value.is_empty_list()) {
        fields.missing("filter_chains");
    }
    (chains, default)
}

/// The `http_inspector` and its deadline. `original_dst` changes nothing: a steered connection always has its destination.
fn detect(fields: &Fields<'_>) -> Option<Detect> {
    #[derive(PartialEq)]
    enum Filter {
        Http,
        OriginalDestination,
    }
    let filters = fields.messages("listener_filters", LISTENER_FILTER, |fields| {
        fields.require_text("name");
        fields.refuse("filter_disabled", "a listener filter always runs");
        fields.refuse("config_discovery", "it comes with xDS; use typed_config");
        fields.any(
            "typed_config",
            &[(HTTP_INSPECTOR, &|_| Some(Filter::Http)), (ORIGINAL_DST, &|_| Some(Filter::OriginalDestination))],
            &[(TLS_INSPECTOR, "it is not there yet")],
        )
    });
    let timeout = fields.positive_duration("listener_filters_timeout");
    let continue_on_timeout = fields.flag("continue_on_listener_filters_timeout", false);
    filters.contains(&Filter::Http).then(|| timeout.map_or(DETECT, |timeout| Detect { timeout, continue_on_timeout }))
}

/// Fields that may say what the agent does anyway.
fn only_defaults(fields: &Fields<'_>) {
    fields.only_flag("enable_reuse_port", true);
    fields.only_flag("transparent", false);
    fields.only_flag("freebind", false);
    fields.only_flag("enable_mptcp", false);
    fields.only_choice("drain_type", "DEFAULT", 0);
    fields.refuse("stat_prefix", "metrics go by the listener's name");
    fields.refuse("access_log", "there are no access logs yet");
    fields.refuse("udp_listener_config", "the agent receives no datagrams: the kernel sends them to endpoints");
    fields.refuse("api_listener", "it comes with xDS");
    fields.refuse("additional_addresses", "write one listener for each address");
    fields.refuse("filter_chain_matcher", "use filter_chain_match");
}

fn claim(
    fields: &Fields<'_>,
    taken: &Listeners,
    address: SocketAddr,
    direction: Direction,
    bind: bool,
    catch_all: bool,
) {
    let Some(at) = fields.get("address", &Kind::Message(ADDRESS)) else { return };
    let direction = match direction {
        Direction::Inbound => "INBOUND",
        Direction::Outbound => "OUTBOUND",
    };
    // What is bound stands for the destination too; one report is enough if the same address is bound twice.
    if !bind || taken.bound.claim(address.to_string(), &at) {
        taken.destinations.claim(format!("{address} {direction}"), &at);
    }
    if catch_all && let Some(at) = fields.get("use_original_dst", &Kind::Flag) {
        taken.catch_all.claim(direction.to_owned(), &at);
    }
}
