//! Connections to an echo server that are all used, again and again, while others come and go: what breaks one shows at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use harness::client::block_on;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::soak::{Errors, exchange, open};

/// What to do.
#[derive(Args)]
pub(crate) struct Plan {
    /// The echo server
    address: SocketAddr,
    /// Connections open all the time
    #[arg(long)]
    hold: u64,
    /// New connections at once, beside them, one after the other
    #[arg(long, default_value_t = 4)]
    others: u64,
}

/// Prints after each round over all of them `round`, and in all so far `opened`, `errors` and `first_error`. Ends when killed.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    block_on(async {
        let mut held = Vec::new();
        for batch in (0..plan.hold).collect::<Vec<_>>().chunks(AT_ONCE) {
            let opening: JoinSet<_> = batch.iter().map(|&n| open(plan.address, n)).collect();
            held.extend(opening.join_all().await.into_iter().collect::<anyhow::Result<Vec<_>>>().context("opening")?);
        }
        let (errors, opened) = (Arc::<Errors>::default(), Arc::<AtomicU64>::default());
        for other in 0..plan.others {
            tokio::spawn(come_and_go(plan.address, other, Arc::clone(&errors), Arc::clone(&opened)));
        }
        for round in 0_u64.. {
            held = use_all(held, round, &errors).await;
            let (opened, (errors, first)) = (opened.load(Ordering::Relaxed), errors.so_far());
            println!("{}", json!({ "round": round, "opened": opened, "errors": errors, "first_error": first }));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    })
}

/// One that failed is counted and not used again.
async fn use_all(held: Vec<TcpStream>, round: u64, errors: &Errors) -> Vec<TcpStream> {
    let mut left = Vec::with_capacity(held.len());
    let mut held = held.into_iter().zip(0_u64..).peekable();
    while held.peek().is_some() {
        let mut batch = JoinSet::new();
        for (mut stream, n) in held.by_ref().take(AT_ONCE) {
            batch.spawn(async move { exchange(&mut stream, (n << 32) | round).await.map(|()| stream) });
        }
        for done in batch.join_all().await {
            match done {
                Ok(stream) => left.push(stream),
                Err(error) => errors.note(Err(error.context(format!("held, in round {round}")))),
            }
        }
    }
    left
}

async fn come_and_go(address: SocketAddr, other: u64, errors: Arc<Errors>, opened: Arc<AtomicU64>) {
    for n in 0.. {
        match open(address, (other << 32) | n).await {
            Ok(_) => drop(opened.fetch_add(1, Ordering::Relaxed)),
            Err(error) => errors.note(Err(error)),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

const AT_ONCE: usize = 100;
