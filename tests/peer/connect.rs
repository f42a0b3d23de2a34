//! One connection, and what `getsockname` and `getpeername` say of it.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

/// Connects and prints `local`, `peer` and `micros`.
pub(crate) fn run(address: SocketAddr) -> anyhow::Result<()> {
    let began = Instant::now();
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    let micros = u64::try_from(began.elapsed().as_micros())?;
    let (local, peer) = (stream.local_addr()?.to_string(), stream.peer_addr()?.to_string());
    println!("{}", json!({ "local": local, "peer": peer, "micros": micros }));
    Ok(())
}
