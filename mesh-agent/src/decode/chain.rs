//! Filter chains: which connections one takes, who may have it, and its one terminal filter (`envoy.config.listener.v3.FilterChain`).

use std::sync::Arc;

use crate::decode::address::{CIDR_RANGE, cidr_range};
use crate::decode::at::At;
use crate::decode::extension::{discovery, place};
use crate::decode::fields::Fields;
use crate::decode::http::{HTTP_CONNECTION_MANAGER, http_connection_manager};
use crate::decode::http_options::ON_DEMAND;
use crate::decode::kind::Kind;
use crate::decode::rbac::{RBAC, rbac};
use crate::decode::tcp::{TCP_PROXY, tcp_proxy};
use crate::decode::tls::{DOWNSTREAM, UPSTREAM};
use crate::decode::unique::Unique;
use crate::model::authz::Rules;
use crate::model::extension::Place;
use crate::model::filter::NetworkFilter;
use crate::model::listener::{ChainMatch, FilterChain};

pub(crate) const CHAIN: &str = "envoy.config.listener.v3.FilterChain";
const CHAIN_MATCH: &str = "envoy.config.listener.v3.FilterChainMatch";
const FILTER: &str = "envoy.config.listener.v3.Filter";
pub(crate) const TRANSPORT_SOCKET: &str = "envoy.config.core.v3.TransportSocket";
pub(crate) const RAW_BUFFER: &str = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";
const LATER: &str = "there is no TLS from clients yet";

/// Filters that do not come by themselves: what they refer to comes with the listener, and so do they.
pub(crate) const LAST: [(&str, &str); 3] =
    [(HTTP_CONNECTION_MANAGER, IN_PLACE), (TCP_PROXY, IN_PLACE), (ON_DEMAND, IN_PLACE)];
const SOURCE: &str = "envoy.config.core.v3.ExtensionConfigSource of a network filter";
const IN_PLACE: &str = "it has to stand in the listener";

/// One chain. `taken` are the matches of its siblings; the default chain has none.
pub(crate) fn chain(fields: &Fields<'_>, taken: Option<&Unique>) -> Option<FilterChain> {
    let name = fields.text("name").unwrap_or_default().to_owned();
    let matches = fields.message("filter_chain_match", CHAIN_MATCH, chain_match).unwrap_or_default();
    if let Some(taken) = taken {
        taken.claim(describe(&matches), fields.at());
    }
    fields.message("transport_socket", TRANSPORT_SOCKET, transport_socket);
    fields.only_flag("use_proxy_proto", false);
    let (authorization, filter) = filters(fields)?;
    Some(FilterChain { name, matches, authorization, filter })
}

/// One filter of a chain.
enum Filter {
    /// Lets a connection through, or not.
    Rules(Place<Rules>),
    /// Carries it.
    Terminal(NetworkFilter),
}

/// Rules, then the one filter that carries the connection.
fn filters(fields: &Fields<'_>) -> Option<(Vec<Place<Rules>>, NetworkFilter)> {
    let decoded = fields.messages("filters", FILTER, |fields| Some(filter(fields)));
    let Some(at) = fields.get("filters", &Kind::list(Kind::Message(FILTER))) else {
        fields.missing("filters");
        return None;
    };
    // What could not be decoded was reported, and may have been either.
    let (last, before) = match decoded.split_last() {
        Some((last, before)) => (Some(last), before),
        None => (None, &[][..]),
    };
    let is_rules = |filter: &Option<Filter>| !matches!(filter, Some(Filter::Terminal(_)));
    let is_terminal = !matches!(last, None | Some(Some(Filter::Rules(_))));
    if at.list().is_some() && !(is_terminal && before.iter().all(is_rules)) {
        at.rule("must end with one http_connection_manager or tcp_proxy; before it, only rbac");
    }
    let mut rules = Vec::new();
    for filter in decoded {
        match filter? {
            Filter::Rules(found) => rules.push(found),
            Filter::Terminal(filter) => return Some((rules, filter)),
        }
    }
    None
}

fn chain_match(fields: &Fields<'_>) -> Option<ChainMatch> {
    let networks = |name| fields.messages(name, CIDR_RANGE, cidr_range);
    let port = |at: &At<'_>| at.integer(1, 65535).and_then(|port| u16::try_from(port).ok());
    let text = |at: &At<'_>| at.text().map(str::to_owned);
    // What a connection without TLS has; the other comes with TLS.
    fields.only_text("transport_protocol", "raw_buffer");
    fields.only_choice("source_type", "ANY", 0);
    fields.refuse("server_names", LATER);
    fields.refuse("address_suffix", "Envoy ignores it");
    fields.refuse("suffix_len", "Envoy ignores it");
    Some(ChainMatch {
        destination_port: fields.port("destination_port"),
        destination: networks("prefix_ranges"),
        application_protocols: fields.each("application_protocols", Kind::Text, text),
        source: networks("source_prefix_ranges"),
        source_ports: fields.each("source_ports", Kind::Integer(1, 65535), port),
    })
}

fn filter(fields: &Fields<'_>) -> Option<Filter> {
    fields.require_text("name");
    place(
        fields,
        &[
            (HTTP_CONNECTION_MANAGER, &|fields| {
                http_connection_manager(fields).map(|http| Filter::Terminal(NetworkFilter::Http(Arc::new(http))))
            }),
            (TCP_PROXY, &|fields| tcp_proxy(fields).map(|tcp| Filter::Terminal(NetworkFilter::Tcp(Arc::new(tcp))))),
            (RBAC, &|fields| rbac(fields).map(Place::Fixed).map(Filter::Rules)),
        ],
        &[],
        |fields| discovery(fields, SOURCE, &rbac, &LAST).map(Filter::Rules),
    )
}

/// The transport socket of a chain, which can only be the plain one yet.
fn transport_socket(fields: &Fields<'_>) -> Option<()> {
    fields.require_text("name");
    fields.any("typed_config", &[(RAW_BUFFER, &|_| Some(()))], &[(DOWNSTREAM, LATER), (UPSTREAM, LATER)])
}

/// A match as text that is the same for two matches that take the same connections.
fn describe(matches: &ChainMatch) -> String {
    let mut matches = matches.clone();
    matches.destination.sort_unstable();
    matches.source.sort_unstable();
    matches.source_ports.sort_unstable();
    matches.application_protocols.sort_unstable();
    let ChainMatch { destination_port, destination, application_protocols, source, source_ports } = matches;
    let mut parts = Vec::new();
    parts.extend(destination_port.map(|port| format!("destination_port {port}")));
    let mut list = |what: &str, values: Vec<String>| {
        if !values.is_empty() {
            parts.push(format!("{what} {}", values.join(" ")));
        }
    };
    list("prefix_ranges", destination.iter().map(ToString::to_string).collect());
    list("application_protocols", application_protocols);
    list("source_prefix_ranges", source.iter().map(ToString::to_string).collect());
    list("source_ports", source_ports.iter().map(ToString::to_string).collect());
    if parts.is_empty() { "any connection".to_owned() } else { parts.join(", ") }
}
