//! Which filter chain of a listener takes a connection.
//!
//! Envoy's rule: criterion by criterion, in a fixed order, only the chains that match most specifically stay; there is no way back.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::listener::ChainMatch;
use crate::proxy::connection::Origin;
use crate::snapshot::{LiveChain, LiveListener};
use crate::telemetry::Protocol;

/// How well one criterion fits: the higher, the more specific. `None`: not at all.
type Fit = Option<u8>;
type Criterion = fn(&ChainMatch, &Origin, Option<Protocol>) -> Fit;

const CRITERIA: [Criterion; 5] = [destination_port, destination, application_protocol, source, source_port];

/// The chain for a connection from `origin` that speaks `protocol`, as far as that was detected.
pub(super) fn choose<'a>(
    listener: &'a LiveListener,
    origin: &Origin,
    protocol: Option<Protocol>,
) -> Option<&'a LiveChain> {
    let mut candidates: Vec<&LiveChain> = listener.chains.iter().collect();
    for criterion in CRITERIA {
        let fit = |chain: &LiveChain| criterion(&chain.matches, origin, protocol);
        let best = candidates.iter().filter_map(|chain| fit(chain)).max();
        candidates.retain(|chain| best.is_some() && fit(chain) == best);
    }
    candidates.first().copied().or(listener.default_chain.as_ref())
}

fn destination_port(test: &ChainMatch, origin: &Origin, _: Option<Protocol>) -> Fit {
    match test.destination_port {
        None => Some(0),
        Some(port) => (port == origin.destination.port()).then_some(1),
    }
}

fn destination(test: &ChainMatch, origin: &Origin, _: Option<Protocol>) -> Fit {
    prefix(&test.destination, origin.destination.ip())
}

fn application_protocol(test: &ChainMatch, _: &Origin, protocol: Option<Protocol>) -> Fit {
    if test.application_protocols.is_empty() {
        return Some(0);
    }
    let names: &[&str] = match protocol {
        Some(Protocol::Http1) => &["http/1.1", "http/1.0"],
        Some(Protocol::Http2) => &["h2c"],
        Some(Protocol::Tls | Protocol::Opaque) | None => &[],
    };
    test.application_protocols.iter().any(|name| names.contains(&name.as_str())).then_some(1)
}

fn source(test: &ChainMatch, origin: &Origin, _: Option<Protocol>) -> Fit {
    prefix(&test.source, origin.peer.ip())
}

fn source_port(test: &ChainMatch, origin: &Origin, _: Option<Protocol>) -> Fit {
    if test.source_ports.is_empty() {
        return Some(0);
    }
    test.source_ports.contains(&origin.peer.port()).then_some(1)
}

/// No networks fit everything; of networks, the longest prefix that holds the address counts.
fn prefix(networks: &[IpNet], address: IpAddr) -> Fit {
    if networks.is_empty() {
        return Some(0);
    }
    networks.iter().filter(|network| network.contains(&address)).map(|network| network.prefix_len() + 1).max()
}

#[cfg(test)]
mod tests;
