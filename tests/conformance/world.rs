//! The surroundings of one proxy under test: its ports, and the upstreams with what they answer and what they got.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::case::{Case, Kind, Script, Suite};
use crate::observe::Message;
use crate::{upstream1, upstream2};

/// What the placeholders of a configuration stand for in one run: `${listen.NAME}`, `${upstream.NAME}`, `${closed}`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports(BTreeMap<String, u16>);

/// The upstreams of one proxy.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) ports: Ports,
    pub(crate) upstreams: Arc<Upstreams>,
}

/// What the upstreams do and saw in the running case.
#[derive(Debug, Default)]
pub(crate) struct Upstreams(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    answers: BTreeMap<String, Script>,
    seen: Vec<Record>,
}

/// One message at an upstream. It outlives its case if the upstream is slow, and is then nobody's.
#[derive(Clone, Debug)]
pub(crate) struct Record(Arc<Mutex<Message>>);

impl Ports {
    /// Puts the ports in.
    pub(crate) fn show(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, (name, port)| text.replace(&format!("${{{name}}}"), &port.to_string()))
    }

    /// Puts the placeholders back.
    pub(crate) fn hide(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, (name, port)| text.replace(&format!(":{port}"), &format!(":${{{name}}}")))
    }

    pub(crate) fn listener(&self, name: &str) -> Result<u16> {
        let port = self.0.get(&format!("listen.{name}")).copied();
        port.with_context(|| format!("no ${{listen.{name}}} in the configuration"))
    }

    pub(crate) fn listeners(&self) -> impl Iterator<Item = u16> {
        self.0.iter().filter(|(name, _)| name.starts_with("listen.")).map(|(_, port)| *port)
    }
}

impl World {
    /// Binds the upstreams and chooses ports for the listeners. Needs a running runtime.
    pub(crate) fn new(suite: &Suite) -> Result<Self> {
        let upstreams = Arc::new(Upstreams::default());
        let mut ports = BTreeMap::new();
        for (name, kind) in &suite.cases.upstreams {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            ports.insert(format!("upstream.{name}"), listener.local_addr()?.port());
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::spawn(accept(listener, *kind, name.clone(), Arc::clone(&upstreams)));
        }
        for piece in suite.config.split("${").skip(1) {
            let (name, _) = piece.split_once('}').context("unclosed ${ in the configuration")?;
            if name.starts_with("listen.") || name == "closed" {
                ports.entry(name.to_owned()).or_insert_with(unused_port);
            } else if !ports.contains_key(name) {
                bail!("${{{name}}} is no listener and no upstream");
            }
        }
        Ok(Self { ports: Ports(ports), upstreams })
    }
}

impl Upstreams {
    /// A new case begins.
    pub(crate) fn begin(&self, case: &Case) {
        *self.state() = State { answers: case.answers.clone(), seen: Vec::new() };
    }

    /// What an upstream answers, if the case says so.
    pub(crate) fn answer(&self, name: &str) -> Option<Script> {
        self.state().answers.get(name).cloned()
    }

    /// A message has begun to arrive.
    pub(crate) fn record(&self, name: &str, message: Message) -> Record {
        let record = Record(Arc::new(Mutex::new(Message { at: name.to_owned(), ..message })));
        self.state().seen.push(record.clone());
        record
    }

    /// Waits until a message has begun to arrive, or some time for it is over.
    pub(crate) async fn seen(&self) {
        let deadline = Instant::now() + Duration::from_secs(1);
        while self.state().seen.is_empty() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// All messages, once they are whole or have had some time for it.
    pub(crate) async fn settle(&self) -> Vec<Message> {
        let deadline = Instant::now() + Duration::from_millis(400);
        loop {
            let seen: Vec<Message> = self.state().seen.iter().map(|record| record.lock().clone()).collect();
            if seen.iter().all(|message| !message.end.is_empty()) || Instant::now() > deadline {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// The message as it is now known.
    pub(crate) fn update(&self, message: &Message) {
        let mut slot = self.lock();
        *slot = Message { at: slot.at.clone(), ..message.clone() };
    }

    fn lock(&self) -> MutexGuard<'_, Message> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: tokio::net::TcpListener, kind: Kind, name: String, upstreams: Arc<Upstreams>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (name, upstreams) = (name.clone(), Arc::clone(&upstreams));
        match kind {
            Kind::Http1 => drop(tokio::spawn(upstream1::serve_http(stream, name, upstreams))),
            Kind::Tcp => drop(tokio::spawn(upstream1::serve_tcp(stream, name, upstreams))),
            Kind::Http2 => drop(tokio::spawn(upstream2::serve(stream, name, upstreams))),
        }
    }
}

/// A port below the ephemeral range, so that no outgoing connection takes it before the proxy binds it.
fn unused_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 10_000) as u16;
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
