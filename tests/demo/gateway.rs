//! The demo's own browser: page views through the gateway.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use harness::client::{self, Answer, Client, Version};
use http::{Request, header};
use tokio::time::{MissedTickBehavior, interval};

/// The gateway's address, and what came of the requests to it.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    address: SocketAddr,
    sent: Arc<AtomicU64>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Gateway {
    /// The gateway on that port of 127.0.0.1.
    pub(crate) fn new(port: u16) -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), sent: Arc::default(), trouble: Arc::default() }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The last thing that went wrong with [`Gateway::visit`].
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `GET path` as `user`, on a connection of its own.
    pub(crate) async fn get(&self, path: &str, user: Option<&str>) -> anyhow::Result<Answer> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let mut request = Request::get(format!("http://{}{path}", self.address)).body(client::empty())?;
        if let Some(user) = user {
            request.headers_mut().insert(header::COOKIE, format!("user={user}").parse()?);
        }
        Client::connect(self.address, Version::Http1).await?.ask(request).await
    }

    /// Views the page so many times a second, every third time as jason, for ever.
    pub(crate) async fn visit(self, rate: u32) {
        if rate == 0 {
            return;
        }
        let mut ticks = interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for n in 0u64.. {
            ticks.tick().await;
            let user = n.is_multiple_of(3).then_some("jason");
            let trouble = match self.get("/productpage", user).await {
                Ok(answer) if answer.status.is_success() => continue,
                Ok(answer) => answer.status.to_string(),
                Err(error) => format!("{error:#}"),
            };
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
        }
    }
}
