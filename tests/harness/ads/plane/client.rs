//! One client of a plane: what it wants of a kind, what it was sent, and what it lacks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;

use crate::ads::Stream;
use crate::ads::message::{Any, CDS, DeltaRequest, DeltaResponse, LDS, Request, Resource, Response, SRDS, VHDS};

/// Resources of a kind, by name, with the version each is of.
pub(super) type Resources = BTreeMap<String, (u64, Body)>;

/// A resource's bytes.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// The same for everybody.
    Same(Bytes),
    /// By the id of the node.
    Each(HashMap<String, Bytes>),
}

/// What one client wants, and has been sent, of a kind.
#[derive(Debug, Default)]
pub(super) struct Client {
    wildcard: bool,
    named: bool,
    pub(super) names: BTreeSet<String>,
    /// Name and version of what it has.
    sent: HashMap<String, u64>,
    /// Names to be answered even if nothing changed.
    owed: BTreeSet<String>,
    /// The version it was told last.
    seen: Option<u64>,
    /// The nonce of the last response, until that is answered.
    unanswered: Option<String>,
    /// How many responses it was sent: no two have the same nonce.
    responses: u64,
}

impl Client {
    /// Takes a request in.
    pub(super) fn hear(&mut self, asked: Asked, is_first: bool, is_delta: bool) {
        if is_delta {
            self.sent.extend(asked.initial);
            // Envoy begins with no virtual host, and means none.
            let is_all = asked.type_url != VHDS && asked.subscribe.is_empty();
            self.wildcard |= (is_first && is_all) || asked.subscribe.iter().any(|it| it == "*");
            self.wildcard &= !asked.unsubscribe.iter().any(|it| it == "*");
            for name in asked.unsubscribe {
                self.names.remove(&name);
            }
            let fresh = asked.subscribe.into_iter().filter(|it| it != "*");
            for name in fresh {
                self.sent.remove(&name);
                self.owed.insert(name.clone());
                self.names.insert(name);
            }
        } else {
            self.named |= !asked.subscribe.is_empty();
            self.wildcard = asked.subscribe.iter().any(|it| it == "*") || !self.named;
            let names: BTreeSet<_> = asked.subscribe.into_iter().filter(|it| it != "*").collect();
            self.owed.extend(names.difference(&self.names).cloned());
            self.sent.retain(|name, _| names.contains(name) || self.wildcard);
            self.names = names;
        }
        self.unanswered.take_if(|nonce| *nonce == asked.nonce);
    }

    /// Whether it owes no answer.
    pub(super) fn is_quiet(&self) -> bool {
        self.unanswered.is_none()
    }

    /// Sends it what it lacks of a kind, if that is anything.
    pub(super) fn push(&mut self, kind: &'static str, version: u64, all: &Resources, node: &str, stream: &Stream) {
        if self.seen == Some(version) && self.owed.is_empty() {
            return;
        }
        let is_first = self.seen.is_none() && self.wildcard;
        let wanted = |name: &String| self.wildcard || self.names.contains(name);
        let lacks = |name: &String, version: u64| self.sent.get(name) != Some(&version);
        let fresh: Vec<_> = all.iter().filter(|(name, (version, _))| wanted(name) && lacks(name, *version)).collect();
        let mut gone: Vec<String> = self.sent.keys().filter(|name| !all.contains_key(*name)).cloned().collect();
        let any = |body: &Body| Any { type_url: kind.to_owned(), value: body.of(node) };
        // Version 0 is what a plane without any such resource says once.
        let nonce = format!("{version}-{}-{kind}", self.responses);
        self.responses += 1;
        let sent = fresh.iter().map(|(name, (version, _))| ((*name).clone(), *version)).collect::<Vec<_>>();
        if stream.is_delta() {
            let absent = self.owed.iter().filter(|name| !all.contains_key(*name)).cloned();
            // That a virtual host does not exist is said by a resource without itself.
            let absent = if kind == VHDS {
                absent.map(|name| Resource { aliases: vec![name.clone()], name, ..Resource::default() }).collect()
            } else {
                gone.extend(absent);
                Vec::new()
            };
            gone.sort_unstable();
            gone.dedup();
            let resource = |(name, (version, bytes)): (&String, &(u64, Body))| Resource {
                version: version.to_string(),
                resource: Some(any(bytes)),
                name: name.clone(),
                // Envoy looks for the host that it has asked for among these alone.
                aliases: if kind == VHDS { vec![name.clone()] } else { Vec::new() },
            };
            let resources: Vec<_> = fresh.into_iter().map(resource).chain(absent).collect();
            if !resources.is_empty() || !gone.is_empty() || is_first {
                let (version, removed) = (version.to_string(), gone.clone());
                self.unanswered = Some(nonce.clone());
                stream.send(&DeltaResponse { version, resources, type_url: kind.to_owned(), nonce, removed });
            }
        } else {
            let is_whole = [CDS, LDS, SRDS].contains(&kind);
            let resources: Vec<_> = if is_whole {
                all.iter().filter(|(name, _)| wanted(name)).map(|(_, (_, bytes))| any(bytes)).collect()
            } else {
                fresh.into_iter().map(|(_, (_, bytes))| any(bytes)).collect()
            };
            if is_whole || !resources.is_empty() {
                self.unanswered = Some(nonce.clone());
                stream.send(&Response { version: version.to_string(), resources, type_url: kind.to_owned(), nonce });
            }
        }
        self.sent.extend(sent);
        self.sent.retain(|name, _| !gone.contains(name));
        self.owed.clear();
        self.seen = Some(version);
    }
}

impl Body {
    fn of(&self, node: &str) -> Bytes {
        match self {
            Self::Same(bytes) => bytes.clone(),
            // A node that nobody thought of gets what it cannot take.
            Self::Each(bodies) => bodies.get(node).cloned().unwrap_or_default(),
        }
    }
}

/// What a request of either form says.
pub(super) struct Asked {
    pub(super) node: Option<String>,
    pub(super) type_url: String,
    subscribe: Vec<String>,
    unsubscribe: Vec<String>,
    initial: Vec<(String, u64)>,
    pub(super) nonce: String,
    pub(super) refusal: Option<String>,
}

impl From<DeltaRequest> for Asked {
    fn from(it: DeltaRequest) -> Self {
        let initial = it.initial.into_iter().map(|(name, version)| (name, version.parse().unwrap_or(0))).collect();
        let refusal = it.error.map(|status| status.message);
        let (subscribe, unsubscribe) = (it.subscribe, it.unsubscribe);
        let node = it.node.map(|node| node.id);
        Self { node, type_url: it.type_url, subscribe, unsubscribe, initial, nonce: it.nonce, refusal }
    }
}

impl From<Request> for Asked {
    fn from(it: Request) -> Self {
        let refusal = it.error.map(|status| status.message);
        let (unsubscribe, initial) = (Vec::new(), Vec::new());
        let node = it.node.map(|node| node.id);
        Self { node, type_url: it.type_url, subscribe: it.names, unsubscribe, initial, nonce: it.nonce, refusal }
    }
}
