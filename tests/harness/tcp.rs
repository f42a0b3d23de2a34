//! Servers that speak no HTTP, or speak it badly.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::secure::Tls;
use crate::serve::Server;

/// Sends back what it gets; ends its direction when the client has ended its own.
///
/// # Errors
/// If the address is taken.
pub fn echo(address: SocketAddr) -> anyhow::Result<Server> {
    Server::start(address, |mut stream, _| async move {
        let (mut read, mut write) = stream.split();
        // Whoever reset the connection knows.
        if tokio::io::copy(&mut read, &mut write).await.is_ok() {
            let _ = write.shutdown().await;
        }
    })
}

/// The same behind TLS.
///
/// # Errors
/// If the address is taken.
pub fn secure_echo(address: SocketAddr, tls: &Tls) -> anyhow::Result<Server> {
    let tls = tls.clone();
    Server::start(address, move |stream, _| {
        let tls = tls.clone();
        async move {
            let Some(stream) = tls.accept(stream).await else { return };
            let (mut read, mut write) = tokio::io::split(stream);
            if tokio::io::copy(&mut read, &mut write).await.is_ok() {
                let _ = write.shutdown().await;
            }
        }
    })
}

/// Speaks first, as MySQL and SMTP servers do: a greeting, then `250 ` and the line for every line it gets.
///
/// # Errors
/// If the address is taken.
pub fn greeter(address: SocketAddr) -> anyhow::Result<Server> {
    Server::start(address, |stream, _| async move {
        // Whoever went away knows.
        let _ = greet(stream).await;
    })
}

/// Tells every client, in one line, which address it sees, then closes.
///
/// # Errors
/// If the address is taken.
pub fn who_am_i(address: SocketAddr) -> anyhow::Result<Server> {
    Server::start(address, |mut stream, accepted| async move {
        // accept() and getpeername() are answered by different system calls; both have to be right.
        let named = stream.peer_addr().map(|peer| peer.to_string()).unwrap_or_default();
        let _ = stream.write_all(format!("{accepted} {named}\n").as_bytes()).await;
    })
}

/// Keeps every byte it gets, answers each connection's first bytes with fixed ones, then closes. With nothing to answer it
/// stays silent.
#[derive(Debug)]
pub struct Recorder {
    server: Server,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Recorder {
    /// Starts one.
    ///
    /// # Errors
    /// If the address is taken.
    pub fn start(address: SocketAddr, answer: &'static [u8]) -> anyhow::Result<Self> {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bytes);
        let server = Server::start(address, move |stream, _| record(stream, Arc::clone(&kept), answer))?;
        Ok(Self { server, bytes })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// How many connections it had.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.server.clients().len()
    }

    /// Everything it got.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn greet(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(GREETING.as_bytes()).await?;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        stream.write_all(format!("250 {line}").as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

async fn record(mut stream: TcpStream, kept: Arc<Mutex<Vec<u8>>>, answer: &'static [u8]) {
    let mut buffer = vec![0; 64 * 1024];
    let mut answered = false;
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..read]);
        if !answered && !answer.is_empty() {
            answered = true;
            if stream.write_all(answer).await.is_err() || stream.shutdown().await.is_err() {
                return;
            }
        }
    }
}

/// What [`greeter`] says first.
pub const GREETING: &str = "220 mail.example ESMTP\r\n";
