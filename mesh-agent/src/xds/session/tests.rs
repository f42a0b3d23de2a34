//! The rules of the protocol, one test each; a name that ends in `_sotw` or `_delta` concerns that form alone. `docs/xds.md` lists
//! them by the document they are from.

mod delta;
mod faults;
mod known;
mod seeds;
mod sotw;
mod time;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;

use crate::model::resource::ResourceKind;
use crate::xds::message::{Any, DeltaRequest, DeltaResponse, Request, Resource, Response, Ttl};
use crate::xds::session::{Fault, Name, Session, Update, Variant};

const CDS: ResourceKind = ResourceKind::Cluster;
const EDS: ResourceKind = ResourceKind::Endpoints;
const LDS: ResourceKind = ResourceKind::Listener;
const RDS: ResourceKind = ResourceKind::Route;
const PATIENCE: Option<Duration> = Some(Duration::from_secs(15));
const NODE: &[u8] = b"\x0a\x01n";

fn session(variant: Variant) -> Session {
    Session::new(variant, Bytes::from_static(NODE))
}

fn name(text: &str) -> Name {
    Arc::from(text)
}

/// A resource with a name and something else in it.
fn body(name: &str, content: &str) -> Vec<u8> {
    let field = |tag: u8, text: &str| {
        let length = u8::try_from(text.len()).expect("a short text");
        [&[tag << 3 | 2, length][..], text.as_bytes()].concat()
    };
    [field(1, name), field(2, content)].concat()
}

fn any(kind: ResourceKind, name: &str, content: &str) -> Any {
    Any { type_url: kind.type_url(), value: body(name, content).into() }
}

/// A SotW response that holds these.
fn whole(kind: ResourceKind, nonce: &str, version: &str, resources: Vec<Any>) -> Bytes {
    let (version_info, nonce) = (version.to_owned(), nonce.to_owned());
    Response { version_info, resources, type_url: kind.type_url(), nonce }.encode_to_vec().into()
}

/// A SotW response of resources `name=content`.
fn response(kind: ResourceKind, nonce: &str, version: &str, resources: &[&str]) -> Bytes {
    let resources = resources.iter().map(|it| it.split_once('=').unwrap_or((it, ""))).map(|(n, c)| any(kind, n, c));
    whole(kind, nonce, version, resources.collect())
}

/// A delta resource `name@version`, whose content is its version.
fn resource(kind: ResourceKind, text: &str) -> Resource {
    let (name, version) = text.split_once('@').expect("a version");
    let (name, version) = (name.to_owned(), version.to_owned());
    Resource { resource: Some(any(kind, &name, &version)), name, version, ..Resource::default() }
}

/// A delta response of resources `name@version` and removed names.
fn delta(kind: ResourceKind, nonce: &str, resources: &[&str], removed: &[&str]) -> Bytes {
    delta_of(kind, nonce, resources.iter().map(|it| resource(kind, it)).collect(), removed)
}

fn delta_of(kind: ResourceKind, nonce: &str, resources: Vec<Resource>, removed: &[&str]) -> Bytes {
    let removed_resources = removed.iter().map(ToString::to_string).collect();
    let (type_url, nonce, system_version_info) = (kind.type_url(), nonce.to_owned(), String::new());
    DeltaResponse { system_version_info, resources, type_url, nonce, removed_resources }.encode_to_vec().into()
}

fn with_ttl(mut resource: Resource, seconds: i64) -> Resource {
    resource.ttl = Some(Ttl { seconds, nanos: 0 });
    resource
}

fn request(bytes: Bytes) -> Request {
    Request::decode(bytes).expect("a request")
}

fn delta_request(bytes: Bytes) -> DeltaRequest {
    DeltaRequest::decode(bytes).expect("a request")
}

fn only(mut requests: Vec<Bytes>) -> Bytes {
    assert_eq!(requests.len(), 1, "one request");
    requests.remove(0)
}

fn names(update: &Update) -> Vec<&str> {
    update.resources.iter().map(|it| &*it.name).collect()
}

fn removed(update: &Update) -> Vec<&str> {
    update.removed.iter().map(|name| &**name).collect()
}

fn fault(name: &str, text: &str) -> Fault {
    Fault { name: Some(Arc::from(name)), text: format!("cluster {name:?}: {text}") }
}

/// A session that wants something, on its first stream, and what it says there.
fn connected(variant: Variant, wanted: impl FnOnce(&mut Session)) -> (Session, Vec<Bytes>) {
    let mut session = session(variant);
    wanted(&mut session);
    let requests = session.connected(Instant::now());
    (session, requests)
}

/// Receives a response and accepts all that is in it.
fn take(session: &mut Session, message: Bytes, now: Instant) -> (Update, Bytes) {
    let update = session.received(message, now).expect("a response");
    let answer = session.decided(&update.ticket, &[], now).expect("an answer");
    (update, answer)
}
