//! Opaque bytes, both ways, until both sides are done.
//!
//! An idle direction holds no buffer: bytes are read into the thread's scratch space only once there are some, and written at once;
//! what the receiver does not take yet is all that is kept, and nothing more is read until it is gone. A direction in which much
//! comes at once stops copying and has the kernel move pages (`bulk`), if neither side has TLS. A side that ends its sending is passed on as such
//! (half-close), a reset as a reset.

mod bulk;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::Instant;

use bulk::{Batch, Pipes};

use crate::transport::Stream;

/// Which side sent the first byte of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    Client,
    Server,
}

/// What a copy tells whoever started it.
pub(super) trait Progress {
    /// That side has sent the first byte. Told once, before the byte is counted.
    fn first(&self, speaker: Speaker);
    /// Bytes went from the client to the server.
    fn sent(&self, bytes: u64);
    /// Bytes went from the server to the client.
    fn received(&self, bytes: u64);
    /// Asked before much is moved: whether `splice(2)` would miss some of what arrives at this socket.
    fn hides_bytes(&self, from: &TcpStream) -> bool;
}

/// Why a copy ended before both sides were done.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    /// A side broke off; the other was reset too.
    #[error("connection broken")]
    Broken(#[source] io::Error),
    /// Nothing moved for the configured time.
    #[error("idle for {0:?}")]
    Idle(Duration),
}

/// One thread's space for bytes on their way.
#[derive(Debug)]
pub(super) struct Scratch {
    buffer: RefCell<Box<[u8]>>,
    pipes: Pipes,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { buffer: RefCell::new(vec![0; SCRATCH].into_boxed_slice()), pipes: Pipes::default() }
    }
}

/// Copies until both sides have ended. `read_ahead` is what was already read from the client.
pub(super) async fn copy(
    client: &Stream,
    server: &Stream,
    read_ahead: BytesMut,
    idle: Option<Duration>,
    scratch: &Scratch,
    progress: &impl Progress,
) -> Result<(), CopyError> {
    let moved = Moved { last: Cell::new(Instant::now()), any: Cell::new(false) };
    let moves = |speaker| {
        if moved.is_first() {
            progress.first(speaker);
        }
    };
    let sent = |bytes| {
        moves(Speaker::Client);
        progress.sent(bytes);
    };
    let received = |bytes| {
        moves(Speaker::Server);
        progress.received(bytes);
    };
    let both = async {
        tokio::try_join!(
            pump(client, server, read_ahead, scratch, sent, progress),
            pump(server, client, BytesMut::new(), scratch, received, progress)
        )
    };
    let mut unfinished = Unfinished(Some([client, server]));
    let result = tokio::select! {
        result = both => result.map(drop).map_err(CopyError::Broken),
        after = moved.idle(idle) => Err(CopyError::Idle(after)),
    };
    if !matches!(result, Err(CopyError::Broken(_))) {
        unfinished.0 = None;
    }
    result
}

/// Resets both sides when an exchange broke, or was cut off because its pod or the agent ends.
struct Unfinished<'a>(Option<[&'a Stream; 2]>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.into_iter().flatten().for_each(|stream| reset(stream.tcp()));
    }
}

/// Makes the closing of `stream` a reset: the peer must not take a broken exchange for a finished one.
pub(super) fn reset(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        tracing::debug!(%error, "connection will end without a reset");
    }
}

/// One direction.
async fn pump(
    from: &Stream,
    to: &Stream,
    read_ahead: BytesMut,
    scratch: &Scratch,
    moved: impl Fn(u64),
    progress: &impl Progress,
) -> io::Result<()> {
    if !read_ahead.is_empty() {
        moved(read_ahead.len() as u64);
        write_all(to, &read_ahead).await?;
    }
    drop(read_ahead);
    // Reads in a row that found all the scratch space could take.
    let mut full = 0;
    let mut hides_bytes = None;
    loop {
        from.readable().await?;
        if full >= BULK_AFTER
            && let (Some(from), Some(to)) = (from.plain(), to.plain())
            && !*hides_bytes.get_or_insert_with(|| progress.hides_bytes(from))
        {
            match scratch.pipes.move_batch(from, to, &moved).await? {
                Batch::Moved(moved) => {
                    // Messages again: reading and writing them takes no more, and no pipe.
                    if moved < SCRATCH {
                        full = 0;
                    }
                    continue;
                }
                Batch::End => break,
                Batch::NoPipe => full = 0,
            }
        }
        match pass(from, to, scratch, &moved)? {
            Passed::All { filled } => {
                full = if filled { full + 1 } else { 0 };
                to.flush().await?;
            }
            Passed::Part(rest) => write_all(to, &rest).await?,
            Passed::End => break,
        }
    }
    match poll_fn(|cx| to.poll_shutdown(cx)).await {
        // The peer is gone already; its own direction will say so.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

/// What is read at once; kept small, as a receiver that stalls makes a copy of it stay.
const SCRATCH: usize = 64 * 1024;
/// Half a megabyte that came without a pause: more is on its way. Less is soon copied.
const BULK_AFTER: u32 = 8;

enum Passed {
    All { filled: bool },
    Part(Box<[u8]>),
    End,
}

/// One read and one write, through the scratch space.
fn pass(from: &Stream, to: &Stream, scratch: &Scratch, moved: &impl Fn(u64)) -> io::Result<Passed> {
    let mut scratch = scratch.buffer.borrow_mut();
    let read = match from.try_read(&mut scratch) {
        Ok(0) => return Ok(Passed::End),
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Passed::All { filled: false }),
        Err(error) => return Err(error),
    };
    moved(read as u64);
    let written = match to.try_write(&scratch[..read]) {
        Ok(written) => written,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    Ok(if written == read {
        Passed::All { filled: read == SCRATCH }
    } else {
        Passed::Part(scratch[written..read].into())
    })
}

async fn write_all(to: &Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    to.flush().await
}

/// When bytes last moved, and whether any did.
struct Moved {
    last: Cell<Instant>,
    any: Cell<bool>,
}

impl Moved {
    /// Bytes move now; whether they are the first.
    fn is_first(&self) -> bool {
        self.last.set(Instant::now());
        !self.any.replace(true)
    }

    /// Ends when nothing has moved for `limit`; never without one. One timer, moved on only when it fires.
    async fn idle(&self, limit: Option<Duration>) -> Duration {
        let Some(limit) = limit else { return std::future::pending().await };
        loop {
            let deadline = self.last.get() + limit;
            if deadline <= Instant::now() {
                return limit;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}

#[cfg(test)]
mod tests;
