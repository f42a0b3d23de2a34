//! Reading from sockets to which bytes may come past TCP.
//!
//! Such a socket has two queues, and `recv` answers with what is in one of them. tokio takes an answer that is shorter than the buffer for
//! the end of what is there, and waits to be told of more; what lies in the other queue has been told of already, so nobody would ever
//! come for it. Here only the kernel's "nothing for now" counts. That is a system call more for each message, so it is done where
//! acceleration is on and nowhere else.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// The kernel programs belong to the process, and so does what follows from them.
static PAST_TCP: AtomicBool = AtomicBool::new(false);

/// To be called before the first connection, if acceleration is on.
pub fn expect_bytes_past_tcp() {
    PAST_TCP.store(true, Ordering::Relaxed);
}

/// Whether [`poll_read`] has to be used.
pub(crate) fn may_come_past_tcp() -> bool {
    PAST_TCP.load(Ordering::Relaxed)
}

/// Reads once, and forgets that there is something to read only if there is not.
pub(crate) fn poll_read(stream: &TcpStream, cx: &mut Context<'_>, room: &mut impl BufMut) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_read_ready(cx))?;
        match stream.try_read_buf(room) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
    }
}

/// Reads once, in whichever way is right.
pub(crate) async fn read(stream: &mut TcpStream, room: &mut BytesMut) -> io::Result<usize> {
    if may_come_past_tcp() {
        // `try_read_buf` reads into what room there is.
        room.reserve(ROOM);
        poll_fn(|cx| poll_read(stream, cx, room)).await
    } else {
        stream.read_buf(room).await
    }
}

/// At the most read at once.
const ROOM: usize = 4096;
