//! Connections as fast as they can be opened: each is connected, reset and forgotten.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;
use serde_json::json;
use socket2::{Domain, Socket, Type};

/// What to do.
#[derive(Args)]
pub(crate) struct Plan {
    /// Where to, in turn
    #[arg(required = true)]
    addresses: Vec<SocketAddr>,
    /// How many connections in all
    #[arg(long)]
    connections: u64,
    /// How many at once
    #[arg(long, default_value_t = 2)]
    threads: u64,
}

/// Runs the plan and prints `opened`, `seconds`, `errors` and `first_error`.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    let (begun, errors, first) = (AtomicU64::new(0), AtomicU64::new(0), OnceLock::new());
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..plan.threads {
            scope.spawn(|| {
                loop {
                    let n = begun.fetch_add(1, Ordering::Relaxed);
                    if n >= plan.connections {
                        return;
                    }
                    if let Err(error) = once(plan.addresses[n as usize % plan.addresses.len()]) {
                        errors.fetch_add(1, Ordering::Relaxed);
                        // Only the first is kept.
                        let _ = first.set(error.to_string());
                    }
                }
            });
        }
    });
    let (seconds, errors) = (start.elapsed().as_secs_f64(), errors.into_inner());
    let first = first.into_inner().unwrap_or_default();
    println!("{}", json!({ "opened": plan.connections, "seconds": seconds, "errors": errors, "first_error": first }));
    ensure!(errors == 0, "{errors} errors, the first: {first}");
    Ok(())
}

fn once(address: SocketAddr) -> std::io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Closed by a reset: its port is free again at once.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.connect_timeout(&address.into(), Duration::from_secs(5))
}
