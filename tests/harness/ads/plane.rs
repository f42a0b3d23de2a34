//! A management server that holds resources and follows the protocol, SotW and delta, for any number of clients.
//!
//! A change is sent at once to who wants it. What clients answer is kept: a test waits for the ACK or NACK of a change instead of
//! sleeping. It keeps no record of what clients had on an earlier stream but what they say themselves. A resource may be another one
//! for each node, as with any control plane: the address of a listener is the node's own.

mod client;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;

use crate::ads::message::{CDS, DeltaRequest, ECDS, EDS, LDS, RDS, Request, SDS, SRDS, VHDS};
use crate::ads::{Ads, Stream};
use client::{Asked, Body, Client, Resources};

/// Kinds in the order in which changes are pushed: make before break.
const ORDER: [&str; 8] = [CDS, EDS, SDS, ECDS, LDS, SRDS, RDS, VHDS];
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
    resources: BTreeMap<&'static str, Resources>,
    versions: HashMap<&'static str, u64>,
    held: BTreeSet<&'static str>,
    subscribed: BTreeMap<&'static str, Subscribed>,
    answers: Vec<Answer>,
    /// Since when each node has answered all that there is for it.
    quiet: HashMap<String, Instant>,
    streams: u64,
    /// Streams of an older generation are broken off.
    generation: u64,
    over: bool,
}

/// What clients want by name of a kind.
#[derive(Debug, Default)]
struct Subscribed {
    now: BTreeSet<String>,
    /// How often each name was asked for that had not been wanted before.
    times: HashMap<String, usize>,
}

impl Subscribed {
    fn change(&mut self, before: &BTreeSet<String>, now: &BTreeSet<String>) {
        for name in now.difference(before) {
            *self.times.entry(name.clone()).or_default() += 1;
        }
        self.now.clone_from(now);
    }
}

/// What a client said about a response, or a first request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who.
    pub node: String,
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
            all.extend(resources.into_iter().map(|(name, bytes)| (name, (version, Body::Same(bytes.into())))));
        })
    }

    /// As [`Plane::set`], with other bytes for each node, by its id.
    pub fn set_each(
        &self,
        kind: &'static str,
        resources: impl IntoIterator<Item = (String, HashMap<String, Bytes>)>,
    ) -> u64 {
        self.shared.change(kind, |all, version| {
            all.extend(resources.into_iter().map(|(name, bytes)| (name, (version, Body::Each(bytes)))));
        })
    }

    /// Waits until a node has answered all there is for it, and has asked for nothing more since: why it refused some of it, with
    /// the kind, after `since`, which is an earlier [`Plane::mark`].
    ///
    /// # Errors
    /// If it doesn't come to rest within 10 s.
    pub fn settle(&self, node: &str, since: usize) -> anyhow::Result<Vec<(String, String)>> {
        // A node that has taken one kind asks for what follows from it a little later.
        const REST: Duration = Duration::from_millis(30);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let state = self.shared.lock();
            if state.quiet.get(node).is_some_and(|since| since.elapsed() > REST) {
                let own = state.answers.iter().skip(since).filter(|answer| answer.node == node);
                return Ok(own.filter_map(|it| Some((it.type_url.clone(), it.refusal.clone()?))).collect());
            }
            drop(state);
            if Instant::now() > deadline {
                bail!("{node} does not come to rest");
            }
            thread::sleep(TURN);
        }
    }

    /// How many answers there were so far.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.shared.lock().answers.len()
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

    /// What the client wants by name of a kind. For one client.
    #[must_use]
    pub fn subscribed(&self, kind: &'static str) -> Vec<String> {
        self.shared.lock().subscribed.get(kind).map(|it| it.now.iter().cloned().collect()).unwrap_or_default()
    }

    /// How often the client began to want a resource.
    #[must_use]
    pub fn times_asked(&self, kind: &'static str, name: &str) -> usize {
        let state = self.shared.lock();
        state.subscribed.get(kind).and_then(|it| it.times.get(name)).copied().unwrap_or(0)
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

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, kind: &'static str, change: impl FnOnce(&mut Resources, u64)) -> u64 {
        let mut state = self.lock();
        state.quiet.clear();
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
        let mut node = String::new();
        loop {
            let request = match stream.is_delta() {
                true => stream.poll::<DeltaRequest>(TURN).map(|it| it.map(Asked::from)),
                false => stream.poll::<Request>(TURN).map(|it| it.map(Asked::from)),
            };
            match request {
                Ok(Some(asked)) => {
                    node = asked.node.clone().unwrap_or(node);
                    self.lock().quiet.remove(&node);
                    self.asked(asked, &node, &mut clients, stream.is_delta());
                }
                Ok(None) => {}
                Err(_) => return,
            }
            let mut state = self.lock();
            if state.over || state.generation != generation {
                drop(state);
                return stream.reset();
            }
            for kind in ORDER.into_iter().filter(|kind| !state.held.contains(kind)) {
                let (version, none) = (state.versions.get(kind).copied().unwrap_or(0), Resources::new());
                let resources = state.resources.get(kind).unwrap_or(&none);
                if let Some(client) = clients.get_mut(kind) {
                    client.push(kind, version, resources, &node, stream);
                }
            }
            if !clients.values().all(Client::is_quiet) {
                state.quiet.remove(&node);
            } else if !clients.is_empty() {
                state.quiet.entry(node.clone()).or_insert_with(Instant::now);
            }
        }
    }

    fn asked(&self, asked: Asked, node: &str, clients: &mut BTreeMap<&'static str, Client>, is_delta: bool) {
        let Some(kind) = ORDER.into_iter().find(|kind| *kind == asked.type_url) else { return };
        let is_first = !clients.contains_key(kind);
        let version = asked.nonce.split('-').next().and_then(|it| it.parse().ok());
        let refusal = asked.refusal.clone();
        let client = clients.entry(kind).or_default();
        let before = client.names.clone();
        client.hear(asked, is_first, is_delta);
        self.lock().subscribed.entry(kind).or_default().change(&before, &client.names);
        if let Some(version) = version {
            let answer = Answer { node: node.to_owned(), type_url: kind.to_owned(), version, refusal };
            self.lock().answers.push(answer);
            self.changed.notify_all();
        }
    }
}
