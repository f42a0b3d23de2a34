//! Addresses of sockets (`envoy.config.core.v3.Address`) and blocks of them (`CidrRange`).

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::decode::fields::Fields;
use crate::decode::kind::Kind;
use crate::model::service::Protocol;

pub(crate) const ADDRESS: &str = "envoy.config.core.v3.Address";
pub(crate) const CIDR_RANGE: &str = "envoy.config.core.v3.CidrRange";
const SOCKET_ADDRESS: &str = "envoy.config.core.v3.SocketAddress";

/// The address of a socket on an IP address.
pub(crate) fn address(fields: &Fields<'_>) -> Option<SocketAddr> {
    let (ip, port) = tcp(fields, |fields| fields.require("address", &Kind::Address)?.ip())?;
    Some(SocketAddr::new(ip, port))
}

/// The address of a listener, which may be one for UDP.
pub(crate) fn listener_address(fields: &Fields<'_>) -> Option<(Protocol, SocketAddr)> {
    let (ip, port, protocol) = named(fields, |fields| fields.require("address", &Kind::Address)?.ip())?;
    Some((protocol, SocketAddr::new(ip, port)))
}

/// The same with a name that DNS resolves, or an IP address as text.
pub(crate) fn dns_address(fields: &Fields<'_>) -> Option<(String, u16)> {
    tcp(fields, |fields| {
        let at = fields.require("address", &Kind::Text)?;
        let host = at.text()?;
        if !is_host(host) {
            at.rule("must be a DNS name or an IP address");
            return None;
        }
        Some(host.to_owned())
    })
}

/// `CidrRange`. Bits behind the prefix do not count, and a missing length is 0, both as in Envoy.
pub(crate) fn cidr_range(fields: &Fields<'_>) -> Option<IpNet> {
    let ip = fields.require("address_prefix", &Kind::Address).and_then(|at| at.ip());
    let length = fields.number("prefix_len", 0..=128).unwrap_or(0);
    let net = u8::try_from(length).ok().and_then(|length| IpNet::new(ip?, length).ok());
    if net.is_none() && ip.is_some() {
        fields.at().rule("prefix_len is longer than the address");
    }
    net.map(|net| net.trunc())
}

/// Endpoints are written as addresses for TCP, also those of a UDP listener's cluster.
fn tcp<T>(fields: &Fields<'_>, host: impl FnOnce(&Fields<'_>) -> Option<T>) -> Option<(T, u16)> {
    let (host, port, protocol) = named(fields, host)?;
    if protocol == Protocol::Udp {
        fields.at().rule("only a listener's address can be one for UDP");
    }
    Some((host, port))
}

fn named<T>(fields: &Fields<'_>, host: impl FnOnce(&Fields<'_>) -> Option<T>) -> Option<(T, u16, Protocol)> {
    let refused = [("pipe", "write socket_address"), ("envoy_internal_address", "write socket_address")];
    fields.require_one_of(&["socket_address"], &refused)?;
    fields.message("socket_address", SOCKET_ADDRESS, |fields| {
        let protocol = fields.choice("protocol", &[("TCP", 0, Protocol::Tcp), ("UDP", 1, Protocol::Udp)]);
        fields.only_flag("ipv4_compat", false);
        fields.refuse("resolver_name", "names are resolved by the system's resolver");
        fields.refuse("network_namespace_filepath", "workloads have namespaces, see mesh.workloads");
        let host = host(fields);
        let port = fields.require_one_of(&["port_value"], &[("named_port", "write port_value")]);
        // Port 0 is left out of the range: nobody can be told where to connect to.
        let number = fields.port("port_value");
        port?;
        Some((host?, number?, protocol))
    })
}

/// Whether `text` can be looked up at all: letters, digits, hyphens, underscores and dots, or an address.
fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.parse::<IpAddr>().is_ok()
        || (text.len() <= 254 && text.strip_suffix('.').unwrap_or(text).split('.').all(label))
}
