//! `connection` and the headers it nominates, `te`: what concerns one hop of HTTP/1 only (RFC 9110, 7.6.1).

use crate::proxy::error::{Kind, ProxyError};
use crate::proxy::http::fields::{Fields, tokens};
use crate::proxy::http::name::Name;

/// Headers that may be nominated; more is an attack.
const MAX_NOMINATED: usize = 10;

/// Removes the headers that `connection` nominates. A request that nominates what tells others where it comes from is refused: with
/// that removed, it would pass for another's. An upgrade to h2c is not taken up.
pub(in crate::proxy::http) fn sanitize(fields: &mut Fields) -> Result<(), ProxyError> {
    if !fields.contains(Name::Connection) {
        return Ok(());
    }
    let nominated: Vec<Vec<u8>> =
        fields.all(Name::Connection).flat_map(tokens).map(<[u8]>::to_ascii_lowercase).collect();
    if nominated.len() >= MAX_NOMINATED {
        return Err(ProxyError::client(Kind::Malformed("too many headers nominated")));
    }
    for name in &nominated {
        match Name::of(name) {
            Name::Connection | Name::KeepAlive | Name::Upgrade | Name::Http2Settings => {}
            _ if name == b"close" => {}
            Name::Host => return Err(ProxyError::client(Kind::Rejected("host nominated"))),
            Name::XForwardedFor | Name::XForwardedHost | Name::XForwardedProto => {
                return Err(ProxyError::client(Kind::Malformed("forwarding header nominated")));
            }
            _ if name.starts_with(b":") => {
                return Err(ProxyError::client(Kind::Malformed("pseudo-header nominated")));
            }
            Name::Te if wants_trailers(fields) => {}
            _ => fields.remove_spelled(name),
        }
    }
    if fields.get(Name::Upgrade).is_some_and(|value| tokens(value).any(|token| token.eq_ignore_ascii_case(b"h2c"))) {
        fields.remove(Name::Upgrade);
        fields.remove(Name::Http2Settings);
    }
    Ok(())
}

/// Leaves of `te` what an intermediary may pass on.
pub(super) fn trim_te(fields: &mut Fields) {
    if fields.contains(Name::Te) {
        if wants_trailers(fields) {
            fields.set(Name::Te, b"trailers");
        } else {
            fields.remove(Name::Te);
        }
    }
}

/// Leaves out a `referer` that is no URL: it would only mislead whoever logs it.
pub(super) fn check_referer(fields: &mut Fields) {
    let Some(referer) = fields.get(Name::Referer) else { return };
    let is_url = http::Uri::try_from(referer).is_ok_and(|uri| uri.authority().is_some() && uri.scheme().is_some());
    if !(is_url || referer.is_empty()) || fields.all(Name::Referer).nth(1).is_some() {
        fields.remove(Name::Referer);
    }
}

fn wants_trailers(fields: &Fields) -> bool {
    fields.has_token(Name::Te, "trailers")
}
