//! Copying over real loopback connections.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{CopyError, Progress, Scratch, Speaker, copy, reset};
use crate::transport::Stream;

#[derive(Default)]
struct Counts {
    sent: Cell<u64>,
    received: Cell<u64>,
    first: Cell<Option<Speaker>>,
}

impl Progress for Counts {
    fn first(&self, speaker: Speaker) {
        assert_eq!(self.first.replace(Some(speaker)), None, "told once");
    }
    fn sent(&self, bytes: u64) {
        self.sent.set(self.sent.get() + bytes);
    }
    fn received(&self, bytes: u64) {
        self.received.set(self.received.get() + bytes);
    }
    fn hides_bytes(&self, _: &TcpStream) -> bool {
        false
    }
}

/// The two ends of one connection.
pub(super) async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (far, near) = tokio::join!(TcpStream::connect(address), listener.accept());
    (far.expect("connected"), near.expect("accepted").0)
}

/// Runs `talk` with the client's and the server's end of a copied connection.
async fn between<T>(
    idle: Option<Duration>,
    read_ahead: &[u8],
    talk: impl AsyncFnOnce(TcpStream, TcpStream) -> T,
) -> (T, Result<(), CopyError>, Counts) {
    let ((client, near_client), (server, near_server)) = (pair().await, pair().await);
    let (near_client, near_server) = (Stream::Plain(near_client), Stream::Plain(near_server));
    let counts = Counts::default();
    let scratch = Scratch::default();
    let carry = async {
        let outcome = copy(&near_client, &near_server, BytesMut::from(read_ahead), idle, &scratch, &counts).await;
        // As a connection's task does: its sockets close as soon as the copy has ended.
        drop((near_client, near_server));
        outcome
    };
    let (said, outcome) = tokio::join!(talk(client, server), carry);
    (said, outcome, counts)
}

#[tokio::test]
async fn bytes_arrive_in_order_and_half_close_is_passed_on() {
    let data: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    let answer = data.iter().rev().copied().collect::<Vec<_>>();
    let (got, result, counts) = between(None, b"ahead", async |mut client, mut server| {
        let upload = async {
            client.write_all(&data).await?;
            client.shutdown().await?;
            let mut received = Vec::new();
            client.read_to_end(&mut received).await?;
            io::Result::Ok(received)
        };
        let download = async {
            let mut received = Vec::new();
            server.read_to_end(&mut received).await?;
            // Only after the client has ended its sending: that end did not end the other direction.
            server.write_all(&answer).await?;
            server.shutdown().await?;
            io::Result::Ok(received)
        };
        tokio::try_join!(upload, download).expect("no error")
    })
    .await;
    result.expect("both sides ended");
    assert_eq!(counts.first.get(), Some(Speaker::Client));
    assert!(got.0 == answer, "downloaded");
    assert!(got.1 == [b"ahead", data.as_slice()].concat(), "uploaded");
    assert_eq!((counts.sent.get(), counts.received.get()), (12_000_005, 12_000_000));
}

#[tokio::test]
async fn a_server_may_speak_first() {
    let ((), result, counts) = between(None, b"", async |client, mut server| {
        server.write_all(b"220 ready\r\n").await.expect("written");
        let mut client = client;
        client.read_exact(&mut [0; 11]).await.expect("read");
    })
    .await;
    assert_eq!(counts.first.get(), Some(Speaker::Server));
    result.expect("both ends were closed");
}

#[tokio::test]
async fn a_reset_is_passed_on_as_a_reset() {
    let (read, result, _) = between(None, b"", async |client, mut server| {
        reset(&client);
        drop(client);
        server.read(&mut [0; 1]).await
    })
    .await;
    assert!(matches!(result, Err(CopyError::Broken(_))), "{result:?}");
    assert_eq!(read.expect_err("reset").kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn idle_connections_end() {
    // Time passes only where it is said: while a blocking task runs, the runtime does not let it.
    let (go_on, held) = std::sync::mpsc::channel::<()>();
    let holder = tokio::task::spawn_blocking(move || held.recv());
    let limit = Duration::from_millis(50);
    let ((), result, _) = between(Some(limit), b"", async |mut client, mut server| {
        for _ in 0..4 {
            // Often enough, for longer than the limit.
            tokio::time::advance(limit / 2).await;
            client.write_all(b"x").await.expect("written");
            server.read_exact(&mut [0; 1]).await.expect("read");
        }
        tokio::time::advance(limit).await;
        let end = server.read(&mut [0; 1]).await;
        assert_eq!(end.expect("closed, not broken"), 0);
    })
    .await;
    assert!(matches!(result, Err(CopyError::Idle(after)) if after == limit), "{result:?}");
    drop(go_on);
    assert!(holder.await.expect("no panic").is_err(), "nothing was ever sent");
}

#[tokio::test]
async fn a_copy_that_is_cut_off_resets_both_sides() {
    let (mut client, near_client) = pair().await;
    let (mut server, near_server) = pair().await;
    let (near_client, near_server) = (Stream::Plain(near_client), Stream::Plain(near_server));
    let (counts, scratch) = (Counts::default(), Scratch::default());
    let copying = copy(&near_client, &near_server, BytesMut::new(), None, &scratch, &counts);
    let cut = tokio::time::timeout(Duration::from_millis(10), copying).await;
    assert!(cut.is_err());
    drop((near_client, near_server));
    for end in [&mut client, &mut server] {
        let error = end.read(&mut [0; 8]).await.expect_err("not an orderly end");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
