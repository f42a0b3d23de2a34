//! One stream of bytes from a client to a server, through whatever stands between.
//!
//! The caller reads what the proxy and the machine have used before and after; this prints how many bytes went in which time.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::pods;

/// Where to and for how long.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the client connects to
    #[arg(long)]
    to: SocketAddr,
    /// Where the server listens
    #[arg(long)]
    listen: SocketAddr,
    /// How long to send
    #[arg(long)]
    seconds: u64,
    /// CPU of client and server
    #[arg(long)]
    cpu: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let listener = TcpListener::bind(args.listen).with_context(|| args.listen.to_string())?;
    let cpu = args.cpu;
    let server = thread::spawn(move || drain(&listener, cpu));
    pods::pin(cpu)?;
    let mut client = TcpStream::connect(args.to).with_context(|| args.to.to_string())?;
    let (start, chunk) = (Instant::now(), vec![7; CHUNK]);
    let mut sent = 0_u64;
    while start.elapsed() < Duration::from_secs(args.seconds) {
        client.write_all(&chunk)?;
        sent += CHUNK as u64;
    }
    client.shutdown(Shutdown::Write)?;
    let received = server.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
    let took = start.elapsed();
    ensure!(received == sent, "{sent} bytes were sent and {received} arrived");
    pods::show("stream", "load", "bytes", sent as f64);
    pods::show("stream", "load", "seconds", took.as_secs_f64());
    Ok(())
}

fn drain(listener: &TcpListener, cpu: usize) -> Result<u64> {
    pods::pin(cpu)?;
    let (mut stream, _) = listener.accept()?;
    let mut buffer = vec![0; 4 * CHUNK];
    let mut received = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(received),
            read => received += read as u64,
        }
    }
}

const CHUNK: usize = 64 * 1024;
