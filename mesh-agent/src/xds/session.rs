//! The client's side of one discovery stream, without a socket and without a clock: what is asked for, what was answered, and what
//! has to be said about it. State of the world (SotW) and incremental (delta), both aggregated (ADS).
//!
//! Rules are cited from Envoy's "xDS REST and gRPC protocol" by the headings of that document; `docs/xds.md` lists each with its
//! tests. The caller gives in bytes and the time, and sends the bytes that come out, in order. What a response holds comes out as
//! an [`Update`], which is judged elsewhere; [`Session::decided`] turns the judgement into an ACK or a NACK.
//!
//! The session remembers of each resource that is live its version and a digest of its bytes: what a server sends again as it was
//! is not handed on. It does not keep resources.

mod delta;
mod known;
mod name;
mod reading;
mod refusals;
mod sotw;
mod subscription;
#[cfg(test)]
mod tests;
mod update;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::model::resource::ResourceKind;
use crate::xds::message::Status;
pub(in crate::xds) use refusals::MOST_REFUSED;
use subscription::{Subscription, Undecided};
pub use update::{Fault, Incoming, Missing, Ticket, Unusable, Update, Why};

/// A resource's name.
pub type Name = Arc<str>;

/// Which of the two forms of the protocol a stream speaks (`api_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// State of the world: `StreamAggregatedResources`.
    Sotw,
    /// Incremental: `DeltaAggregatedResources`.
    Delta,
}

/// One client of one management server, over all the streams it ever has.
#[derive(Debug)]
pub struct Session {
    variant: Variant,
    node: Bytes,
    stream: Option<Stream>,
    streams: u64,
    kinds: BTreeMap<ResourceKind, Subscription>,
    timers: Timers,
}

/// What belongs to the stream that is open.
#[derive(Debug)]
struct Stream {
    number: u64,
    node_sent: bool,
}

/// When a wait for a resource, or a resource's life, ends.
type Timers = BTreeSet<(Instant, ResourceKind, Name)>;

impl Session {
    /// A session that wants nothing yet. `node` is an encoded `envoy.config.core.v3.Node`.
    #[must_use]
    pub fn new(variant: Variant, node: Bytes) -> Self {
        Self { variant, node, stream: None, streams: 0, kinds: BTreeMap::new(), timers: Timers::new() }
    }

    /// The form of the protocol.
    #[must_use]
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// Wants whatever the server thinks this node needs of a kind.
    pub fn subscribe_to_all(&mut self, kind: ResourceKind) {
        self.kinds.entry(kind).or_default().wildcard = true;
    }

    /// Wants a resource by name. If it has not come `patience` after it was asked for, it does not exist; never said if `None`.
    pub fn subscribe(&mut self, kind: ResourceKind, name: &Name, patience: Option<Duration>) {
        self.kinds.entry(kind).or_default().want(name, patience);
    }

    /// Wants it no longer.
    pub fn unsubscribe(&mut self, kind: ResourceKind, name: &str) {
        if let Some(subscription) = self.kinds.get_mut(&kind) {
            subscription.forget(kind, name, &mut self.timers);
        }
    }

    /// Requests that tell the server what is wanted since the last of them. "Subscribing to Resources": such a request carries the
    /// nonce of the last response in SotW and none in delta.
    pub fn flush(&mut self, now: Instant) -> Vec<Bytes> {
        let kinds: Vec<_> = self.kinds.keys().copied().collect();
        kinds.into_iter().filter_map(|kind| self.ask(kind, now)).collect()
    }

    /// A stream was opened: the requests it begins with, in the order of [`ResourceKind::ALL`]. Nothing is left of the stream
    /// before, so everything that is wanted is asked for again ("Incremental xDS", reconnecting).
    pub fn connected(&mut self, now: Instant) -> Vec<Bytes> {
        self.disconnected();
        self.streams += 1;
        self.stream = Some(Stream { number: self.streams, node_sent: false });
        self.flush(now)
    }

    /// The stream ended. What is live stays; waits for resources begin anew with the next stream.
    pub fn disconnected(&mut self) {
        self.stream = None;
        for (kind, subscription) in &mut self.kinds {
            subscription.stream_ended(*kind, &mut self.timers);
        }
    }

    /// Reads a response.
    ///
    /// # Errors
    /// If there is nothing in it to judge. [`Unusable::ends_stream`] says whether the stream can go on.
    pub fn received(&mut self, message: Bytes, now: Instant) -> Result<Update, Unusable> {
        let Some(Stream { number, .. }) = self.stream else { return Err(Unusable::NoStream) };
        let reading = match self.variant {
            Variant::Sotw => sotw::read(message)?,
            Variant::Delta => delta::read(message)?,
        };
        let subscription = self.kinds.get_mut(&reading.kind).filter(|it| it.on_stream.asked);
        let subscription = subscription.ok_or(Unusable::NotAskedFor(reading.kind))?;
        let ticket = Ticket { kind: reading.kind, stream: number, nonce: reading.nonce.clone() };
        let is_whole = self.variant == Variant::Sotw && SENT_WHOLE.contains(&reading.kind);
        Ok(subscription.admit(reading, ticket, is_whole, now, &mut self.timers))
    }

    /// What became of an update: nothing refused is an ACK. The answer to the server, unless that stream is gone.
    pub fn decided(&mut self, ticket: &Ticket, refused: &[Fault], now: Instant) -> Option<Bytes> {
        let subscription = self.kinds.get_mut(&ticket.kind)?;
        let undecided = subscription.take_undecided(ticket)?;
        let Undecided { mut faults, version, offered, .. } = undecided;
        faults.extend_from_slice(refused);
        subscription.accept(ticket.kind, offered, &faults, now, &mut self.timers);
        subscription.refusals.add(&faults, &version, now);
        let error = (!faults.is_empty()).then(|| status(&faults));
        // A version is a property of the resources, not of the stream: it counts even if the stream is gone.
        if error.is_none() {
            subscription.version = version;
        }
        let stream = self.stream.as_mut().filter(|stream| stream.number == ticket.stream)?;
        subscription.on_stream.waiting -= 1;
        let node = (!stream.node_sent).then(|| self.node.clone());
        stream.node_sent = true;
        match self.variant {
            Variant::Sotw => sotw::answer(subscription, ticket, error, node, now, &mut self.timers),
            Variant::Delta => Some(delta::answer(ticket, error, node)),
        }
    }

    /// Whether whatever there is of a kind is wanted.
    #[must_use]
    pub fn wants_all(&self, kind: ResourceKind) -> bool {
        self.kinds.get(&kind).is_some_and(|subscription| subscription.wildcard)
    }

    /// Whether each response of a kind holds all that is wanted of it.
    #[must_use]
    pub fn is_whole(&self, kind: ResourceKind) -> bool {
        self.variant == Variant::Sotw && SENT_WHOLE.contains(&kind) && self.wants_all(kind)
    }

    /// Whether a resource is wanted and not live.
    #[must_use]
    pub fn lacks(&self, kind: ResourceKind, name: &str) -> bool {
        self.kinds.get(&kind).is_some_and(|subscription| subscription.lacks(name))
    }

    /// What is wanted by name and not live.
    #[must_use]
    pub fn lacking(&self) -> Vec<(ResourceKind, Name)> {
        let of = |(kind, subscription): (&ResourceKind, &Subscription)| {
            subscription.absent().map(|(name, _)| (*kind, Arc::clone(name))).collect::<Vec<_>>()
        };
        self.kinds.iter().flat_map(of).collect()
    }

    /// Whether anything that was asked for has neither come nor been said not to be there.
    #[must_use]
    pub fn is_owed(&self) -> bool {
        self.kinds.values().any(|subscription| subscription.absent().any(|(_, is_missing)| !is_missing))
    }

    /// Whether a resource is live, and how long it may be: `Some(false)` if that has an end.
    #[must_use]
    pub fn lasts(&self, kind: ResourceKind, name: &str) -> Option<bool> {
        self.kinds.get(&kind)?.lasts(name)
    }

    /// Resources are live that came before there was a stream: the next one begins with their versions.
    pub fn restored(&mut self, kind: ResourceKind, resources: &[Incoming], now: Instant) {
        if let Some(subscription) = self.kinds.get_mut(&kind) {
            resources.iter().for_each(|resource| subscription.restore(kind, resource, now, &mut self.timers));
        }
    }

    /// When [`Session::overdue`] will have something to say.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, ..)| *at)
    }

    /// Resources that did not come in time ("Knowing When a Requested Resource Does Not Exist"), and those whose life ended
    /// ("TTL"). Each is said once; it stays subscribed and may still come.
    pub fn overdue(&mut self, now: Instant) -> Vec<Missing> {
        let mut missing = Vec::new();
        while let Some((at, ..)) = self.timers.first()
            && *at <= now
            && let Some((_, kind, name)) = self.timers.pop_first()
        {
            let why = self.kinds.get_mut(&kind).and_then(|subscription| subscription.ran_out(&name, now));
            missing.extend(why.map(|why| Missing { kind, name, why }));
        }
        missing
    }

    /// How many resources of a kind are live.
    #[must_use]
    pub fn held(&self, kind: ResourceKind) -> usize {
        self.kinds.get(&kind).map_or(0, Subscription::held)
    }

    fn ask(&mut self, kind: ResourceKind, now: Instant) -> Option<Bytes> {
        let subscription = self.kinds.get_mut(&kind)?;
        let stream = self.stream.as_mut()?;
        // "The xDS transport Protocol": only the first request of a stream is bound to carry the node.
        let node = (!stream.node_sent).then(|| self.node.clone());
        let request = match self.variant {
            Variant::Sotw => sotw::ask(kind, subscription, node, now, &mut self.timers),
            Variant::Delta => delta::ask(kind, subscription, node, now, &mut self.timers),
        }?;
        stream.node_sent = true;
        Some(request)
    }
}

/// "Grouping Resources into Responses": of these, a SotW response holds all that are needed, so what is absent is gone.
/// Of scopes the document says nothing; all are asked for at once, and Envoy takes a response for all there are.
const SENT_WHOLE: [ResourceKind; 3] = [ResourceKind::Listener, ResourceKind::Cluster, ResourceKind::ScopedRoute];

/// Stands for whatever the server thinks a node needs.
const WILDCARD: &str = "*";

/// `error_detail`: every fault, as far as there is room.
fn status(faults: &[Fault]) -> Status {
    // Servers log it; a status is not a place for megabytes.
    const LONGEST: usize = 8 << 10;
    /// `google.rpc.Code.INVALID_ARGUMENT`.
    const INVALID_ARGUMENT: i32 = 3;
    let mut message = String::new();
    for (at, fault) in faults.iter().enumerate() {
        let text = fault.to_string();
        if message.len() + text.len() > LONGEST {
            message.push_str(&format!("{}and {} more", if at == 0 { "" } else { "; " }, faults.len() - at));
            break;
        }
        if at > 0 {
            message.push_str("; ");
        }
        message.push_str(&text);
    }
    Status { code: INVALID_ARGUMENT, message }
}
