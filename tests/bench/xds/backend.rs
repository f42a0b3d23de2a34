//! What stands behind every endpoint of every cluster: it answers with the address it was reached at. All of 127/8 is this machine's.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use anyhow::{Result, anyhow};
use harness::serve::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::xds::turn::go_first;

/// The server. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Backend(Server);

impl Backend {
    pub(crate) fn start() -> Result<Self> {
        // A thread is as urgent as the one that starts it.
        let server = thread::spawn(|| {
            go_first()?;
            let anywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            Server::start(anywhere, |stream, _| async {
                // Whoever closed the connection knows.
                let _ = answer(stream).await;
            })
        });
        Ok(Self(server.join().map_err(|_| anyhow!("the backend panicked"))??))
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.address().port()
    }
}

/// Where a request came out, as its answer tells.
pub(crate) fn reached(body: &[u8]) -> Option<SocketAddr> {
    str::from_utf8(body).ok()?.parse().ok()
}

async fn answer(mut stream: TcpStream) -> Result<()> {
    let here = stream.local_addr()?.to_string();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{here}", here.len());
    let (mut head, mut chunk) = (Vec::new(), [0; 2048]);
    loop {
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        // Requests have no bodies, and none comes before the one before it is answered.
        head.extend_from_slice(&chunk[..read]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            stream.write_all(answer.as_bytes()).await?;
        }
    }
}
