//! Connections, and what `getsockname` and `getpeername` say of them.

use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// What to connect, and how.
#[derive(Args)]
pub(crate) struct Plan {
    /// Where to
    address: SocketAddr,
    /// Address to bind before connecting
    #[arg(long)]
    from: Option<SocketAddr>,
    /// Connections, one after the other; the last is reported, `micros` is the median
    #[arg(long, default_value_t = 1)]
    times: usize,
    /// Read what the server says until it closes, and report it as `said`
    #[arg(long)]
    read: bool,
    /// Send so many bytes
    #[arg(long, default_value_t = 0)]
    send: usize,
    /// Then read so many
    #[arg(long, default_value_t = 0)]
    take: usize,
    /// So many times, with a pause of a tenth of a second after each
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Then say that nothing follows, and wait until the other side does the same
    #[arg(long)]
    finish: bool,
    /// Then reset the connection
    #[arg(long, conflicts_with = "finish")]
    reset: bool,
    /// Nobody is there: it is no error that none of the connections can be made
    #[arg(long, conflicts_with_all = ["read", "udp"])]
    refused: bool,
    /// Connect a UDP socket instead
    #[arg(long)]
    udp: bool,
}

/// Connects and prints `local`, `peer`, `micros` and, if wanted, `said`.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    if plan.udp {
        let socket = UdpSocket::bind(if plan.address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        socket.connect(plan.address)?;
        println!("{}", json!({ "local": socket.local_addr()?.to_string(), "peer": socket.peer_addr()?.to_string() }));
        return Ok(());
    }
    if plan.refused {
        let made = (0..plan.times).filter(|_| connect(plan, &mut Vec::new()).is_ok()).count();
        anyhow::ensure!(made == 0, "{made} connections were made");
        return Ok(());
    }
    let mut micros = Vec::with_capacity(plan.times);
    let mut last = connect(plan, &mut micros)?;
    for _ in 1..plan.times {
        last = connect(plan, &mut micros)?;
    }
    micros.sort_by(f64::total_cmp);
    // Before anything is said: of a connection that is closed there is no peer to name.
    let (local, peer) = (last.local_addr()?.to_string(), last.peer_addr()?.to_string());
    converse(&last, plan)?;
    let said = if plan.read { Some(read(&last)?) } else { None };
    println!("{}", json!({ "local": local, "peer": peer, "micros": micros[micros.len() / 2], "said": said }));
    Ok(())
}

fn connect(plan: &Plan, micros: &mut Vec<f64>) -> anyhow::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(plan.address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(from) = plan.from {
        socket.set_reuse_address(true)?;
        socket.bind(&from.into())?;
    }
    socket.set_write_timeout(Some(Duration::from_secs(5)))?;
    let began = Instant::now();
    socket.connect(&plan.address.into())?;
    micros.push(began.elapsed().as_secs_f64() * 1e6);
    Ok(socket.into())
}

fn converse(mut stream: &TcpStream, plan: &Plan) -> anyhow::Result<()> {
    let (sent, mut taken) = (vec![b'x'; plan.send], vec![0; plan.take]);
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    for round in 0..plan.rounds {
        if round > 0 {
            std::thread::sleep(Duration::from_millis(100));
        }
        stream.write_all(&sent)?;
        stream.read_exact(&mut taken)?;
    }
    if plan.finish {
        stream.shutdown(std::net::Shutdown::Write)?;
        std::io::copy(&mut stream, &mut std::io::sink())?;
    }
    if plan.reset {
        SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}

fn read(mut stream: &TcpStream) -> anyhow::Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said.trim_end().to_owned())
}
