//! Incremental: requests say what is wanted more or less than before, and each response is answered by its nonce.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use prost::Message as _;

use crate::model::resource::ResourceKind;
use crate::xds::message::{DeltaRequest, DeltaResponse, Status};
use crate::xds::session::reading::Reading;
use crate::xds::session::subscription::Subscription;
use crate::xds::session::update::{Ticket, Unusable};
use crate::xds::session::{Timers, WILDCARD};

/// Reads a response.
pub(super) fn read(message: Bytes) -> Result<Reading, Unusable> {
    let DeltaResponse { system_version_info, resources, type_url, nonce, removed_resources } =
        DeltaResponse::decode(message)?;
    let mut reading = Reading::of(type_url, nonce, system_version_info)?;
    for resource in resources {
        reading.add_resource(resource, None);
    }
    reading.removed = removed_resources.into_iter().map(Arc::from).collect();
    Ok(reading)
}

/// The request that says what is wanted, if the server does not know. Spontaneous requests bear no nonce.
pub(super) fn ask(
    kind: ResourceKind,
    subscription: &mut Subscription,
    node: Option<Bytes>,
    now: Instant,
    timers: &mut Timers,
) -> Option<Bytes> {
    if !subscription.has_news() {
        return None;
    }
    let is_first = !subscription.on_stream.asked;
    let mut subscribe: Vec<String> = subscription.on_stream.unasked.iter().map(ToString::to_string).collect();
    let mut unsubscribe: Vec<String> = subscription.on_stream.dropped.iter().map(ToString::to_string).collect();
    // The first request may say "everything" by naming nothing, as servers have understood it the longest.
    if subscription.wildcard && !subscription.on_stream.wildcard && !(is_first && subscribe.is_empty()) {
        subscribe.insert(0, WILDCARD.to_owned());
    }
    if !subscription.wildcard && subscription.on_stream.wildcard {
        unsubscribe.insert(0, WILDCARD.to_owned());
    }
    let initial_resource_versions = if is_first { versions(subscription) } else { HashMap::new() };
    subscription.asked(kind, now, timers);
    let request = DeltaRequest {
        node,
        type_url: kind.type_url(),
        resource_names_subscribe: subscribe,
        resource_names_unsubscribe: unsubscribe,
        initial_resource_versions,
        ..DeltaRequest::default()
    };
    Some(request.encode_to_vec().into())
}

/// ACK or NACK.
pub(super) fn answer(ticket: &Ticket, error: Option<Status>, node: Option<Bytes>) -> Bytes {
    let request = DeltaRequest {
        node,
        type_url: ticket.kind.type_url(),
        response_nonce: ticket.nonce.clone(),
        error_detail: error,
        ..DeltaRequest::default()
    };
    request.encode_to_vec().into()
}

/// What is live from streams before ("Incremental xDS"): the server need not send it again, and says which of it is gone.
fn versions(subscription: &Subscription) -> HashMap<String, String> {
    subscription.all_held().map(|(name, held)| (name.to_string(), held.version.to_string())).collect()
}
