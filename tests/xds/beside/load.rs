//! Requests that go on through all updates: their route is there before and after each, so none of them may fail.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{bail, ensure};
use harness::client::{Client, Version};

/// Runs until it is stopped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    requests: AtomicU64,
    failures: Mutex<Vec<String>>,
}

/// Connections that are kept, and those that are made for each request.
const KEPT: usize = 3;
const FRESH: usize = 1;
/// Between two requests of a connection: this is to see failures, not to fill the machine.
const PAUSE: Duration = Duration::from_millis(2);

impl Load {
    pub(crate) fn start(address: SocketAddr) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let given = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let each = (0..KEPT + FRESH).map(|index| (Arc::clone(&given), index >= KEPT));
            runtime.block_on(async {
                let tasks: Vec<_> =
                    each.map(|(shared, is_fresh)| tokio::spawn(repeat(shared, address, is_fresh))).collect();
                for task in tasks {
                    // A panic in it was printed, and is a failure too.
                    if task.await.is_err() {
                        given.failed("a client panicked".to_owned());
                    }
                }
            });
        });
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Fails if a request has.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let failures = self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if !failures.is_empty() {
            bail!("{} requests failed on the agent: {:?}", failures.len(), failures.iter().take(5).collect::<Vec<_>>());
        }
        Ok(())
    }

    /// How many requests there were, none of which failed.
    pub(crate) fn stop(mut self) -> anyhow::Result<u64> {
        self.end();
        self.check()?;
        let requests = self.shared.requests.load(Ordering::Relaxed);
        ensure!(requests > 0, "there was no load");
        Ok(requests)
    }

    fn end(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn failed(&self, what: String) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }
}

async fn repeat(shared: Arc<Shared>, address: SocketAddr, is_fresh: bool) {
    let mut client = None;
    while !shared.over.load(Ordering::Relaxed) {
        match one(client.take().filter(|_| !is_fresh), address).await {
            Ok(kept) => client = kept,
            Err(error) => shared.failed(format!("{error:#}")),
        }
        shared.requests.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
}

/// One request; the connection, if the agent keeps it.
async fn one(client: Option<Client>, address: SocketAddr) -> anyhow::Result<Option<Client>> {
    let mut client = match client {
        Some(client) => client,
        None => Client::connect(address, Version::Http1).await?,
    };
    let answer = tokio::time::timeout(Duration::from_secs(10), client.get("http://test/steady")).await??;
    ensure!(answer.status == 200, "{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
    Ok((answer.header("connection") != "close").then_some(client))
}
