//! The management server: incremental, one client, and nothing that takes time between a request and its answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use harness::ads::message::{CDS, DeltaRequest, DeltaResponse, EDS, LDS};
use harness::ads::{Ads, Stream};
use harness::config::own_address;
use prost::Message as _;

use crate::xds::catalogue::Catalogue;

/// Waits for its client.
#[derive(Debug)]
pub(crate) struct Feed(Ads);

/// Has its client.
#[derive(Debug)]
pub(crate) struct Live<'a> {
    catalogue: &'a Catalogue,
    stream: Stream,
    sent: u64,
    acknowledged: u64,
}

impl Feed {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self(Ads::start(own_address(0))?))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Waits for the client and its first request, which [`Live::bring_up`] answers.
    pub(crate) fn accept<'a>(&self, catalogue: &'a Catalogue) -> Result<Live<'a>> {
        let stream = self.0.stream(PATIENCE)?;
        ensure!(stream.is_delta(), "the client wants state of the world");
        let mut live = Live { catalogue, stream, sent: 0, acknowledged: 0 };
        let request = live.hear(PATIENCE)?.context("the client asks for nothing")?;
        ensure!(request.type_url == CDS, "the client first asks for {}", request.type_url);
        Ok(live)
    }
}

impl Live<'_> {
    /// Sends clusters, then endpoints as they are asked for, and when all of those are live the listeners. Returns when they are
    /// acknowledged.
    pub(crate) fn bring_up(&mut self) -> Result<()> {
        let mut endpoints = 0;
        let mut wants_listeners = false;
        let mut has_listeners = false;
        self.respond(CDS, self.catalogue.clusters())?;
        while !has_listeners || self.acknowledged < self.sent {
            let request = self.hear(PATIENCE)?.context("the client does not answer")?;
            match &*request.type_url {
                EDS if !request.subscribe.is_empty() => {
                    endpoints += request.subscribe.len();
                    let each = request.subscribe.iter().map(|name| self.catalogue.endpoints(name));
                    let each: Option<Vec<_>> = each.collect();
                    self.respond(EDS, &each.context("the client asks for what there is not")?.concat())?;
                }
                LDS => wants_listeners = true,
                _ => {}
            }
            let all = endpoints >= self.catalogue.count() as usize && self.acknowledged == self.sent;
            if all && wants_listeners && !has_listeners {
                has_listeners = true;
                self.respond(LDS, self.catalogue.listeners())?;
            }
        }
        Ok(())
    }

    /// Sends endpoints, and waits for nothing.
    pub(crate) fn send(&mut self, endpoints: &[u8]) -> Result<()> {
        self.respond(EDS, endpoints)
    }

    /// Sends endpoints at a steady rate, or as fast as it can if it falls behind; how long it took until the last were live.
    pub(crate) fn send_at(&mut self, updates: &[Vec<u8>], per_second: u32) -> Result<Duration> {
        let start = Instant::now();
        for (n, update) in (0..).zip(updates) {
            let due = start + Duration::from_secs(1) * n / per_second;
            while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                self.hear(left)?;
            }
            self.send(update)?;
        }
        self.settle()?;
        Ok(start.elapsed())
    }

    /// Waits until everything is acknowledged.
    pub(crate) fn settle(&mut self) -> Result<()> {
        while self.acknowledged < self.sent {
            self.hear(PATIENCE)?.context("the client does not answer")?;
        }
        Ok(())
    }

    /// The next request. A refusal is an error.
    fn hear(&mut self, within: Duration) -> Result<Option<DeltaRequest>> {
        let Some(request) = self.stream.poll::<DeltaRequest>(within)? else { return Ok(None) };
        if let Some(status) = &request.error {
            return Err(anyhow!("refused: {}", status.message));
        }
        self.acknowledged += u64::from(!request.nonce.is_empty());
        Ok(Some(request))
    }

    fn respond(&mut self, kind: &str, resources: &[u8]) -> Result<()> {
        self.sent += 1;
        let (version, nonce) = (self.sent.to_string(), self.sent.to_string());
        let head = DeltaResponse { version, type_url: kind.to_owned(), nonce, ..DeltaResponse::default() };
        let mut bytes = head.encode_to_vec();
        // Fields of a message may stand in any order.
        bytes.extend_from_slice(resources);
        self.stream.send_bytes(bytes);
        Ok(())
    }
}

/// Envoy may take its time for many clusters.
const PATIENCE: Duration = Duration::from_secs(120);
