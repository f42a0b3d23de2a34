//! `x-forwarded-for`, `x-forwarded-proto`, `x-envoy-external-address`: where a request comes from, for those behind us.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use crate::model::filter::HttpConnectionManager;
use crate::proxy::http::fields::{Fields, tokens};
use crate::proxy::http::head::{RequestHead, Version};
use crate::proxy::http::name::Name;
use crate::proxy::http::thread::HttpThread;

/// Writes down where the request comes from, and learns its scheme.
pub(super) fn mark(config: &HttpConnectionManager, thread: &HttpThread, peer: SocketAddr, head: &mut RequestHead) {
    let peer = peer.ip().to_canonical();
    join(&mut head.fields, Name::XForwardedFor);
    if config.use_remote_address {
        let trusted = match config.xff_num_trusted_hops {
            0 => None,
            hops => nth_from_last(&head.fields, hops as usize - 1),
        };
        if !config.skip_xff_append {
            // Behind us, our loopback address would mean somebody else.
            append(&mut head.fields, if peer.is_loopback() { thread.own_address() } else { peer });
        }
        if config.xff_num_trusted_hops == 0 {
            head.fields.remove(Name::XForwardedProto);
        }
        let external = trusted.unwrap_or(peer);
        with_text(external, |text| head.fields.set(Name::EnvoyExternalAddress, text));
    }
    // A client of HTTP/2 has said its scheme itself.
    let scheme_is_known = head.version == Version::Http2;
    match head.fields.get(Name::XForwardedProto) {
        Some(proto) if !scheme_is_known => head.https = proto.eq_ignore_ascii_case(b"https"),
        Some(_) => {}
        // The client's leg is never TLS yet.
        None => head.fields.append(Name::XForwardedProto, b"http"),
    }
}

/// Several headers of `name` are one list.
pub(super) fn join(fields: &mut Fields, name: Name) {
    if fields.all(name).nth(1).is_some() {
        let joined = fields.all(name).collect::<Vec<_>>().join(&b","[..]);
        fields.set(name, &joined);
    }
}

fn append(fields: &mut Fields, peer: IpAddr) {
    with_text(peer, |text| match fields.get(Name::XForwardedFor) {
        Some(before) => {
            let joined = [before, text].join(&b","[..]);
            fields.set(Name::XForwardedFor, &joined);
        }
        None => fields.append(Name::XForwardedFor, text),
    });
}

/// The address that stands `skip` places before the last.
fn nth_from_last(fields: &Fields, skip: usize) -> Option<IpAddr> {
    let all: Vec<_> = fields.all(Name::XForwardedFor).flat_map(tokens).collect();
    let address = all.get(all.len().checked_sub(skip + 1)?)?;
    std::str::from_utf8(address).ok()?.parse().ok()
}

fn with_text(address: IpAddr, use_text: impl FnOnce(&[u8])) {
    // "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"
    let mut space = [0; 45];
    let mut rest = &mut space[..];
    write!(rest, "{address}").expect("45 bytes hold any address");
    let unused = rest.len();
    use_text(&space[..45 - unused]);
}
