//! What a proxy changes in the headers of a request and of its answer: Envoy's rules at their defaults, since the clients and
//! servers on both ends were set up for them.

mod connection;
mod forwarded;
mod request_id;

use std::io::Write;
use std::time::Duration;

use http::Method;

use crate::model::filter::{HttpConnectionManager, ServerHeader};
use crate::proxy::error::{Kind, ProxyError};
use crate::proxy::http::head::{RequestHead, ResponseHead, Version};
use crate::proxy::http::name::{Name, NameSet};
use crate::proxy::http::session::Session;
use crate::proxy::http::thread::HttpThread;

pub(super) use connection::sanitize;

/// Headers that mean one connection, not the message.
const HOP_BY_HOP: NameSet = NameSet::of(&[
    Name::Connection,
    Name::Upgrade,
    Name::TransferEncoding,
    Name::KeepAlive,
    Name::ProxyConnection,
    Name::Http2Settings,
]);
/// Those of them that an upgrade needs stay.
const HOP_BY_HOP_OF_UPGRADE: NameSet =
    NameSet::of(&[Name::KeepAlive, Name::ProxyConnection, Name::TransferEncoding, Name::Http2Settings]);
/// Instructions to the proxy that only requests from inside the mesh's own domain may give.
const INTERNAL_ONLY: NameSet = NameSet::of(&[
    Name::EnvoyInternal,
    Name::EnvoyRetriableStatusCodes,
    Name::EnvoyRetriableHeaderNames,
    Name::EnvoyRetryOn,
    Name::EnvoyRetryGrpcOn,
    Name::EnvoyMaxRetries,
    Name::EnvoyUpstreamAltStatName,
    Name::EnvoyUpstreamTimeout,
    Name::EnvoyUpstreamPerTryTimeout,
    Name::EnvoyUpstreamTimeoutAltResponse,
    Name::EnvoyExpectedTimeout,
    Name::EnvoyForceTrace,
    Name::EnvoyIpTags,
    Name::EnvoyOriginalUrl,
    Name::EnvoyHedgeOnPerTryTimeout,
]);
/// What the first proxy on the way in does not believe.
const EDGE_ONLY: NameSet = NameSet::of(&[
    Name::EnvoyDecoratorOperation,
    Name::EnvoyDownstreamServiceCluster,
    Name::EnvoyDownstreamServiceNode,
    Name::EnvoyExternalAddress,
    Name::EnvoyOriginalHost,
]);

/// Checks a request's head and makes it ready to be routed. `true`: the client asks for an upgrade.
pub(super) fn receive(session: &Session, head: &mut RequestHead) -> Result<bool, ProxyError> {
    let config = &*session.chain.config;
    if head.no_host {
        return Err(ProxyError::client(Kind::Rejected("no host")));
    }
    // What an HTTP/1 client says of its scheme at this point, it says in an absolute target.
    if head.https && head.version != Version::Http2 && config.use_remote_address {
        return Err(ProxyError::client(Kind::HttpsTarget));
    }
    if !head.authority().bytes().all(is_authority_byte) {
        return Err(ProxyError::client(Kind::Malformed("host")));
    }
    if head.path().contains('#') {
        return Err(ProxyError::client(Kind::Rejected("fragment")));
    }
    if head.path().is_empty() && head.method != Method::CONNECT {
        return Err(ProxyError::client(Kind::NoPath));
    }
    let upgrade = head.version != Version::Http2 && head.is_upgrade();
    head.fields.remove_all(if upgrade { HOP_BY_HOP_OF_UPGRADE } else { HOP_BY_HOP });
    head.fields.remove_all(INTERNAL_ONLY);
    if config.use_remote_address {
        head.fields.remove_all(EDGE_ONLY);
    }
    connection::trim_te(&mut head.fields);
    connection::check_referer(&mut head.fields);
    forwarded::mark(config, &session.worker.http, session.origin.peer, head);
    forwarded::join(&mut head.fields, Name::XRequestId);
    if config.generate_request_id {
        let replace = config.use_remote_address && !config.preserve_external_request_id;
        if replace || head.fields.get(Name::XRequestId).is_none_or(<[u8]>::is_empty) {
            head.fields.set(Name::XRequestId, &request_id::make(&session.worker));
        }
    }
    if let Some(via) = &config.via {
        append_to_list(&mut head.fields, Name::Via, via);
    }
    Ok(upgrade)
}

/// Tells the endpoint how long it has.
pub(super) fn announce_timeout(quiet: bool, head: &mut RequestHead, timeout: Option<Duration>) {
    if let (Some(timeout), false) = (timeout, quiet) {
        let mut digits = [0; 20];
        head.fields.set(Name::EnvoyExpectedTimeout, decimal(timeout.as_millis() as u64, &mut digits));
    }
}

/// Makes an endpoint's answer ready for the client. `service_time`: how long the endpoint took, if it waited for
/// the whole request.
pub(super) fn forward_response(quiet: bool, head: &mut ResponseHead, upgraded: bool, service_time: Option<Duration>) {
    head.fields.remove_all(if upgraded { HOP_BY_HOP_OF_UPGRADE } else { HOP_BY_HOP });
    if let (Some(service_time), false) = (service_time, quiet) {
        let mut digits = [0; 20];
        head.fields.set(Name::EnvoyUpstreamServiceTime, decimal(service_time.as_millis() as u64, &mut digits));
    }
}

/// What every answer gets, whoever made it.
pub(super) fn sign_response(
    config: &HttpConnectionManager,
    thread: &HttpThread,
    request: &RequestHead,
    head: &mut ResponseHead,
) {
    if !head.fields.contains(Name::Date) {
        head.fields.append(Name::Date, &thread.date());
    }
    let own = match config.server_header {
        ServerHeader::Overwrite => true,
        ServerHeader::AppendIfAbsent => !head.fields.contains(Name::Server),
        ServerHeader::PassThrough => false,
    };
    if own {
        head.fields.set(Name::Server, config.server_name.as_bytes());
    }
    if let Some(via) = &config.via {
        append_to_list(&mut head.fields, Name::Via, via);
    }
    if config.always_set_request_id_in_response
        && let Some(id) = request.fields.get(Name::XRequestId)
    {
        head.fields.set(Name::XRequestId, id);
    }
}

fn append_to_list(fields: &mut crate::proxy::http::fields::Fields, name: Name, value: &str) {
    let joined = match fields.get(name) {
        Some(before) => [before, b", ", value.as_bytes()].concat(),
        None => value.as_bytes().to_vec(),
    };
    fields.set(name, &joined);
}

/// What may stand in an authority: RFC 3986's characters, as Envoy has them.
pub(super) fn is_authority_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=:[]%@".contains(&byte)
}

/// `number` in decimal digits, without asking the allocator.
pub(super) fn decimal(number: u64, space: &mut [u8; 20]) -> &[u8] {
    let mut rest = &mut space[..];
    write!(rest, "{number}").expect("twenty digits hold any u64");
    let unused = rest.len();
    &space[..20 - unused]
}
