//! Datagrams from one socket, and who answered each.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

/// What to send.
#[derive(Args)]
pub(crate) struct Plan {
    /// Where to, in turn
    addresses: Vec<SocketAddr>,
    /// Connect the socket to the first address instead
    #[arg(long)]
    connect: bool,
    /// How often each
    #[arg(long, default_value_t = 1)]
    times: usize,
    /// Milliseconds between two
    #[arg(long, default_value_t = 0)]
    pause: u64,
}

/// Sends, waits for each answer, and prints `peer` and the answers: `asked`, `from`, `said`, or `error`.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    let v4 = plan.addresses.iter().all(SocketAddr::is_ipv4);
    let socket = UdpSocket::bind(if v4 { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut peer = None;
    if plan.connect
        && let Some(first) = plan.addresses.first()
    {
        socket.connect(first)?;
        peer = Some(socket.peer_addr()?.to_string());
    }
    let mut answers = Vec::new();
    for n in 0..plan.times * plan.addresses.len() {
        let to = plan.addresses[n % plan.addresses.len()];
        let text = format!("{n}");
        answers.push(match exchange(&socket, to, plan.connect, &text) {
            Ok((from, said)) => json!({ "asked": to.to_string(), "from": from.to_string(), "said": said }),
            Err(error) => json!({ "asked": to.to_string(), "error": error.to_string() }),
        });
        std::thread::sleep(Duration::from_millis(plan.pause));
    }
    println!("{}", json!({ "peer": peer, "answers": Value::Array(answers) }));
    Ok(())
}

fn exchange(socket: &UdpSocket, to: SocketAddr, connected: bool, text: &str) -> std::io::Result<(SocketAddr, String)> {
    if connected {
        socket.send(text.as_bytes())?;
    } else {
        socket.send_to(text.as_bytes(), to)?;
    }
    let mut bytes = [0; 256];
    let (length, from) = socket.recv_from(&mut bytes)?;
    Ok((from, String::from_utf8_lossy(&bytes[..length]).into_owned()))
}
