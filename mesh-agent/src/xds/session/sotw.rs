//! State of the world: each request says everything that is wanted of a kind, and which version is live.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use prost::Message as _;

use crate::model::resource::ResourceKind;
use crate::xds::message::{Request, Response, Status};
use crate::xds::session::reading::Reading;
use crate::xds::session::subscription::Subscription;
use crate::xds::session::update::{Ticket, Unusable};
use crate::xds::session::{Name, Timers, WILDCARD};

/// Reads a response.
pub(super) fn read(message: Bytes) -> Result<Reading, Unusable> {
    let Response { version_info, resources, type_url, nonce } = Response::decode(message)?;
    let version: Name = Arc::from(version_info.as_str());
    let mut reading = Reading::of(type_url, nonce, version_info)?;
    for any in resources {
        reading.add_any(any, &version);
    }
    Ok(reading)
}

/// The request that says what is wanted, if the server does not know.
pub(super) fn ask(
    kind: ResourceKind,
    subscription: &mut Subscription,
    node: Option<Bytes>,
    now: Instant,
    timers: &mut Timers,
) -> Option<Bytes> {
    // A request with the nonce of a response is taken for the verdict on it, so news wait for that and go with it.
    if subscription.on_stream.waiting > 0 || !subscription.has_news() {
        return None;
    }
    let nonce = subscription.on_stream.nonce.clone();
    Some(request(kind, subscription, nonce, None, node, now, timers))
}

/// ACK or NACK. None if a newer response has made this one stale ("Resource updates"): requests bear the newest nonce.
pub(super) fn answer(
    subscription: &mut Subscription,
    ticket: &Ticket,
    error: Option<Status>,
    node: Option<Bytes>,
    now: Instant,
    timers: &mut Timers,
) -> Option<Bytes> {
    if ticket.nonce != subscription.on_stream.nonce {
        return None;
    }
    Some(request(ticket.kind, subscription, ticket.nonce.clone(), error, node, now, timers))
}

fn request(
    kind: ResourceKind,
    subscription: &mut Subscription,
    nonce: String,
    error: Option<Status>,
    node: Option<Bytes>,
    now: Instant,
    timers: &mut Timers,
) -> Bytes {
    let mut names: Vec<String> = subscription.names.keys().map(ToString::to_string).collect();
    // "How the client specifies what resources to return": nothing named means everything, which every server understands, but
    // only until something has been named on this stream.
    if subscription.wildcard && (subscription.on_stream.named || !names.is_empty()) {
        names.insert(0, WILDCARD.to_owned());
    }
    subscription.asked(kind, now, timers);
    let request = Request {
        version_info: subscription.version.clone(),
        node,
        resource_names: names,
        type_url: kind.type_url(),
        response_nonce: nonce,
        error_detail: error,
    };
    request.encode_to_vec().into()
}
