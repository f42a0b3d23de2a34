//! A management server that holds resources and follows the protocol, SotW and delta, for any number of clients.
//!
//! A change is sent at once to who wants it. What clients answer is kept: a test waits for the ACK or NACK of a change instead of
//! sleeping. It keeps no record of what clients had on an earlier stream but what they say themselves.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;

use crate::ads::message::{Any, CDS, DeltaRequest, DeltaResponse, EDS, LDS, RDS, Request, Resource, Response};
use crate::ads::{Ads, Stream};

/// Kinds in the order in which changes are pushed: make before break.
const ORDER: [&str; 4] = [CDS, EDS, LDS, RDS];
/// How often a stream looks for changes and for its end.
const TURN: Duration = Duration::from_millis(2);

/// The server.
#[derive(Debug)]
pub struct Plane {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    resources: BTreeMap<&'static str, BTreeMap<String, (u64, Bytes)>>,
    versions: HashMap<&'static str, u64>,
    held: BTreeSet<&'static str>,
    answers: Vec<Answer>,
    streams: u64,
    /// Streams of an older generation are broken off.
    generation: u64,
    over: bool,
}

/// What a client said about a response, or a first request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of what.
    pub type_url: String,
    /// The plane's version of that kind that it answers.
    pub version: u64,
    /// Why it was refused, if it was.
    pub refusal: Option<String>,
}

impl Plane {
    /// Listens on `address` (port 0: any).
    ///
    /// # Errors
    /// If the address is taken.
    pub fn start(address: SocketAddr) -> anyhow::Result<Self> {
        let ads = Ads::start(address)?;
        let plane = Self { address: ads.address(), shared: Arc::default() };
        let shared = Arc::clone(&plane.shared);
        thread::spawn(move || {
            while !shared.lock().over {
                let Ok(stream) = ads.stream(Duration::from_millis(20)) else { continue };
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(&stream));
            }
        });
        Ok(plane)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds or replaces resources of a kind, in one push. The version of the push.
    pub fn set(&self, kind: &'static str, resources: impl IntoIterator<Item = (String, Vec<u8>)>) -> u64 {
        self.shared.change(kind, |all, version| {
            all.extend(resources.into_iter().map(|(name, bytes)| (name, (version, Bytes::from(bytes)))));
        })
    }

    /// Removes resources.
    pub fn remove(&self, kind: &'static str, names: &[&str]) -> u64 {
        self.shared.change(kind, |all, _| names.iter().for_each(|name| drop(all.remove(*name))))
    }

    /// Sends nothing of a kind until it is let go.
    pub fn hold(&self, kind: &'static str, hold: bool) {
        let mut state = self.shared.lock();
        if hold {
            state.held.insert(kind);
        } else {
            state.held.remove(kind);
        }
    }

    /// Waits for the answer to a version of a kind: `Ok(None)` if it was accepted.
    ///
    /// # Errors
    /// If there is none within 10 s.
    pub fn answer(&self, kind: &str, version: u64) -> anyhow::Result<Option<String>> {
        let is_it = |answer: &&Answer| answer.type_url == kind && answer.version == version;
        self.wait(|state| state.answers.iter().rev().find(is_it).map(|answer| answer.refusal.clone()))
            .with_context(|| format!("no answer to version {version} of {kind}"))
    }

    /// How many streams were opened so far.
    #[must_use]
    pub fn streams(&self) -> u64 {
        self.shared.lock().streams
    }

    /// Waits until so many streams were opened.
    ///
    /// # Errors
    /// If they are not within 10 s.
    pub fn wait_for_streams(&self, count: u64) -> anyhow::Result<()> {
        self.wait(|state| (state.streams >= count).then_some(())).with_context(|| format!("no stream number {count}"))
    }

    /// Breaks all streams off; clients may come back.
    pub fn disconnect(&self) {
        self.shared.lock().generation += 1;
        self.shared.changed.notify_all();
    }

    fn wait<T>(&self, mut look: impl FnMut(&State) -> Option<T>) -> anyhow::Result<T> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut state = self.shared.lock();
        loop {
            if let Some(found) = look(&state) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("not within 10 s; answers: {:?}", state.answers);
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_all();
    }
}

/// What one client wants, and has been sent, of a kind.
#[derive(Debug, Default)]
struct Client {
    wildcard: bool,
    named: bool,
    names: BTreeSet<String>,
    /// Name and version of what it has.
    sent: HashMap<String, u64>,
    /// Names to be answered even if nothing changed.
    owed: BTreeSet<String>,
    /// The version it was told last.
    seen: Option<u64>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, kind: &'static str, change: impl FnOnce(&mut BTreeMap<String, (u64, Bytes)>, u64)) -> u64 {
        let mut state = self.lock();
        let version = *state.versions.entry(kind).and_modify(|version| *version += 1).or_insert(1);
        change(state.resources.entry(kind).or_default(), version);
        self.changed.notify_all();
        version
    }

    fn serve(&self, stream: &Stream) {
        let generation = {
            let mut state = self.lock();
            state.streams += 1;
            self.changed.notify_all();
            state.generation
        };
        let mut clients: BTreeMap<&'static str, Client> = BTreeMap::new();
        loop {
            let request = match stream.is_delta() {
                true => stream.poll::<DeltaRequest>(TURN).map(|it| it.map(Asked::from)),
                false => stream.poll::<Request>(TURN).map(|it| it.map(Asked::from)),
            };
            match request {
                Ok(Some(asked)) => self.asked(asked, &mut clients, stream.is_delta()),
                Ok(None) => {}
                Err(_) => return,
            }
            let state = self.lock();
            if state.over || state.generation != generation {
                drop(state);
                return stream.reset();
            }
            for kind in ORDER.into_iter().filter(|kind| !state.held.contains(kind)) {
                if let Some(client) = clients.get_mut(kind) {
                    push(&state, kind, client, stream);
                }
            }
        }
    }

    fn asked(&self, asked: Asked, clients: &mut BTreeMap<&'static str, Client>, is_delta: bool) {
        let Some(kind) = ORDER.into_iter().find(|kind| *kind == asked.type_url) else { return };
        let is_first = !clients.contains_key(kind);
        let client = clients.entry(kind).or_default();
        if is_delta {
            client.sent.extend(asked.initial);
            client.wildcard |= (is_first && asked.subscribe.is_empty()) || asked.subscribe.iter().any(|it| it == "*");
            client.wildcard &= !asked.unsubscribe.iter().any(|it| it == "*");
            for name in asked.unsubscribe {
                client.names.remove(&name);
            }
            let fresh = asked.subscribe.into_iter().filter(|it| it != "*");
            for name in fresh {
                client.sent.remove(&name);
                client.owed.insert(name.clone());
                client.names.insert(name);
            }
        } else {
            client.named |= !asked.subscribe.is_empty();
            client.wildcard = asked.subscribe.iter().any(|it| it == "*") || !client.named;
            let names: BTreeSet<_> = asked.subscribe.into_iter().filter(|it| it != "*").collect();
            client.owed.extend(names.difference(&client.names).cloned());
            client.sent.retain(|name, _| names.contains(name) || client.wildcard);
            client.names = names;
        }
        if let Some(version) = asked.nonce.split('-').next().and_then(|it| it.parse().ok()) {
            let answer = Answer { type_url: asked.type_url, version, refusal: asked.refusal };
            self.lock().answers.push(answer);
            self.changed.notify_all();
        }
    }
}

/// What a request of either form says.
struct Asked {
    type_url: String,
    subscribe: Vec<String>,
    unsubscribe: Vec<String>,
    initial: Vec<(String, u64)>,
    nonce: String,
    refusal: Option<String>,
}

impl From<DeltaRequest> for Asked {
    fn from(it: DeltaRequest) -> Self {
        let initial = it.initial.into_iter().map(|(name, version)| (name, version.parse().unwrap_or(0))).collect();
        let refusal = it.error.map(|status| status.message);
        let (subscribe, unsubscribe) = (it.subscribe, it.unsubscribe);
        Self { type_url: it.type_url, subscribe, unsubscribe, initial, nonce: it.nonce, refusal }
    }
}

impl From<Request> for Asked {
    fn from(it: Request) -> Self {
        let refusal = it.error.map(|status| status.message);
        let (unsubscribe, initial) = (Vec::new(), Vec::new());
        Self { type_url: it.type_url, subscribe: it.names, unsubscribe, initial, nonce: it.nonce, refusal }
    }
}

/// Sends a client what it lacks of a kind, if that is anything.
fn push(state: &State, kind: &'static str, client: &mut Client, stream: &Stream) {
    let version = state.versions.get(kind).copied().unwrap_or(0);
    if client.seen == Some(version) && client.owed.is_empty() {
        return;
    }
    let is_first = client.seen.is_none() && client.wildcard;
    let none = BTreeMap::new();
    let all = state.resources.get(kind).unwrap_or(&none);
    let wanted = |name: &String| client.wildcard || client.names.contains(name);
    let lacks = |name: &String, version: u64| client.sent.get(name) != Some(&version);
    let fresh: Vec<_> = all.iter().filter(|(name, (version, _))| wanted(name) && lacks(name, *version)).collect();
    let mut gone: Vec<String> = client.sent.keys().filter(|name| !all.contains_key(*name)).cloned().collect();
    let any = |bytes: &Bytes| Any { type_url: kind.to_owned(), value: bytes.clone() };
    // Version 0 is what a plane without any such resource says once.
    let nonce = format!("{version}-{kind}");
    let sent = fresh.iter().map(|(name, (version, _))| ((*name).clone(), *version)).collect::<Vec<_>>();
    if stream.is_delta() {
        gone.extend(client.owed.iter().filter(|name| !all.contains_key(*name)).cloned());
        gone.sort_unstable();
        gone.dedup();
        let resource = |(name, (version, bytes)): (&String, &(u64, Bytes))| Resource {
            version: version.to_string(),
            resource: Some(any(bytes)),
            name: name.clone(),
        };
        let resources: Vec<_> = fresh.into_iter().map(resource).collect();
        if !resources.is_empty() || !gone.is_empty() || is_first {
            let (version, removed) = (version.to_string(), gone.clone());
            stream.send(&DeltaResponse { version, resources, type_url: kind.to_owned(), nonce, removed });
        }
    } else {
        let is_whole = [CDS, LDS].contains(&kind);
        let resources: Vec<_> = if is_whole {
            all.iter().filter(|(name, _)| wanted(name)).map(|(_, (_, bytes))| any(bytes)).collect()
        } else {
            fresh.into_iter().map(|(_, (_, bytes))| any(bytes)).collect()
        };
        if is_whole || !resources.is_empty() {
            stream.send(&Response { version: version.to_string(), resources, type_url: kind.to_owned(), nonce });
        }
    }
    client.sent.extend(sent);
    client.sent.retain(|name, _| !gone.contains(name));
    client.owed.clear();
    client.seen = Some(version);
}
