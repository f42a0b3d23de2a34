//! Many connections to an echo server: some held all the time, others opened at a steady rate, used once and closed.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use harness::client::block_on;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// What to do.
#[derive(Args)]
pub(crate) struct Plan {
    /// The echo server
    address: SocketAddr,
    /// Connections open all the time
    #[arg(long)]
    hold: usize,
    /// New connections in a second, beside them
    #[arg(long)]
    rate: u64,
    /// For how long
    #[arg(long)]
    seconds: u64,
}

/// Runs the plan and prints `held`, `opened`, `errors`, `first_error`.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    block_on(async {
        let held = hold(plan).await.context("opening the held connections")?;
        println!("held");
        let errors = Errors::default();
        let opened = churn(plan, &errors).await;
        let held_count = held.len();
        // The held ones have to work as well at the end as at the beginning.
        // A hundred at a time, as they were opened: one by one, it is waking up that takes the time.
        let mut held = held.into_iter().zip(0_u64..).peekable();
        while held.peek().is_some() {
            let mut batch = JoinSet::new();
            for (mut stream, n) in held.by_ref().take(100) {
                batch.spawn(async move { exchange(&mut stream, n).await });
            }
            for done in batch.join_all().await {
                errors.note(done);
            }
        }
        let (count, first) = errors.so_far();
        println!("{}", json!({ "held": held_count, "opened": opened, "errors": count, "first_error": first }));
        ensure!(count == 0, "{count} errors, the first: {first}");
        Ok(())
    })
}

/// Opens the connections that stay, a hundred at a time.
async fn hold(plan: &Plan) -> anyhow::Result<Vec<TcpStream>> {
    let mut held = Vec::with_capacity(plan.hold);
    while held.len() < plan.hold {
        let mut batch = JoinSet::new();
        for n in held.len()..plan.hold.min(held.len() + 100) {
            batch.spawn(open(plan.address, n as u64));
        }
        for stream in batch.join_all().await {
            held.push(stream?);
        }
    }
    Ok(held)
}

/// Opens, uses and closes connections at the plan's rate; returns how many.
async fn churn(plan: &Plan, errors: &Errors) -> u64 {
    // Ten to a tick: a timer of a millisecond is as fine as it gets.
    let mut ticks = interval(Duration::from_micros(10_000_000 / plan.rate.max(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut running = JoinSet::new();
    let total = plan.rate * plan.seconds;
    for n in 0..total {
        if n % 10 == 0 {
            ticks.tick().await;
        }
        let address = plan.address;
        running.spawn(async move { open(address, n).await.map(drop) });
        while let Some(done) = running.try_join_next() {
            errors.note(done.map_err(anyhow::Error::from).flatten());
        }
    }
    for done in running.join_all().await {
        errors.note(done);
    }
    total
}

/// Connects, and uses the connection once.
pub(crate) async fn open(address: SocketAddr, n: u64) -> anyhow::Result<TcpStream> {
    let connect = timeout(LONGEST, TcpStream::connect(address)).await.context("connect takes too long")?;
    let mut stream = connect.context("connect")?;
    exchange(&mut stream, n).await?;
    Ok(stream)
}

/// Sends something no other connection sends and expects it back.
pub(crate) async fn exchange(stream: &mut TcpStream, n: u64) -> anyhow::Result<()> {
    let sent = [n.to_be_bytes(), (!n).to_be_bytes()].concat();
    let mut back = [0; 16];
    let work = async {
        stream.write_all(&sent).await?;
        stream.read_exact(&mut back).await
    };
    timeout(LONGEST, work).await.context("no echo")?.context("echo")?;
    ensure!(back[..] == sent[..], "another connection's bytes came back");
    Ok(())
}

/// What failed: how often, and how for the first time.
#[derive(Default)]
pub(crate) struct Errors {
    count: AtomicU64,
    first: OnceLock<String>,
}

impl Errors {
    pub(crate) fn so_far(&self) -> (u64, String) {
        (self.count.load(Ordering::Relaxed), self.first.get().cloned().unwrap_or_default())
    }

    pub(crate) fn note(&self, result: anyhow::Result<()>) {
        if let Err(error) = result {
            self.count.fetch_add(1, Ordering::Relaxed);
            // Only the first is kept.
            let _ = self.first.set(format!("{error:#}"));
        }
    }
}

const LONGEST: Duration = Duration::from_secs(10);
