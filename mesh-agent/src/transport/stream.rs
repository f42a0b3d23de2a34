//! A connection, plain or with TLS.
//!
//! Plain ones are used as the sockets that they are: the choice is made once for each operation, and nothing is boxed for them.

use std::future::{Future as _, poll_fn};
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, ReadBuf};
use tokio::net::{TcpStream, tcp};

use crate::identity::TlsStream;
use crate::transport::read;

/// See the module.
#[derive(Debug)]
pub enum Stream {
    /// As the kernel has it.
    Plain(TcpStream),
    /// With TLS. Boxed: its state is large, and plain connections are many.
    Secure(Box<TlsStream>),
}

/// The receiving half of a connection.
#[derive(Debug)]
pub enum ReadHalf<'a> {
    /// As the kernel has it.
    Plain(tcp::ReadHalf<'a>),
    /// With TLS.
    Secure(&'a TlsStream),
}

/// The sending half of a connection.
#[derive(Debug)]
pub enum WriteHalf<'a> {
    /// As the kernel has it.
    Plain(tcp::WriteHalf<'a>),
    /// With TLS.
    Secure(&'a TlsStream),
}

impl Stream {
    /// The socket.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Secure(tls) => tls.tcp(),
        }
    }

    /// The socket, if what is in it is what the peer says.
    #[must_use]
    pub fn plain(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(tcp) => Some(tcp),
            Self::Secure(_) => None,
        }
    }

    /// Both directions.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        match self {
            Self::Plain(tcp) => {
                let (read, write) = tcp.split();
                (ReadHalf::Plain(read), WriteHalf::Plain(write))
            }
            Self::Secure(tls) => (ReadHalf::Secure(tls), WriteHalf::Secure(tls)),
        }
    }

    /// Ready when there may be something to read.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => tcp.poll_read_ready(cx),
            Self::Secure(tls) => tls.poll_read_ready(cx),
        }
    }

    /// Reads once into a buffer that grows. Ready with 0: the peer has ended.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut BytesMut) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) if read::may_come_past_tcp() => read::poll_read(tcp, cx, room),
            Self::Plain(tcp) => pin!(tcp.read_buf(room)).poll(cx),
            Self::Secure(tls) => tls.poll_read(cx, room),
        }
    }

    /// Writes once; what TLS still holds then is flushed by [`Stream::poll_flush`].
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Secure(tls) => tls.poll_write(cx, &[IoSlice::new(bytes)]),
        }
    }

    /// Ready when all that was written is with the kernel.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Secure(tls) => tls.poll_flush(cx),
        }
    }

    /// Says that nothing more will be sent.
    pub fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Poll::Ready(SockRef::from(tcp).shutdown(Shutdown::Write)),
            Self::Secure(tls) => tls.poll_shutdown(cx),
        }
    }

    /// Waits until there may be something to read.
    ///
    /// # Errors
    /// If the connection broke.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.readable().await,
            Self::Secure(tls) => poll_fn(|cx| tls.poll_read_ready(cx)).await,
        }
    }

    /// Waits until something may be written.
    ///
    /// # Errors
    /// If the connection broke.
    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.writable().await,
            Self::Secure(tls) => poll_fn(|cx| tls.poll_flush(cx)).await,
        }
    }

    /// Waits until all that was written is with the kernel.
    ///
    /// # Errors
    /// If the connection broke.
    pub async fn flush(&self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Secure(tls) => poll_fn(|cx| tls.poll_flush(cx)).await,
        }
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock`: nothing is.
    pub fn try_read(&self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_read(room),
            Self::Secure(tls) => tls.try_read(room),
        }
    }

    /// Writes what can be.
    ///
    /// # Errors
    /// `WouldBlock`: nothing can be.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write(bytes),
            Self::Secure(tls) => tls.try_write(&[IoSlice::new(bytes)]),
        }
    }
}

impl ReadHalf<'_> {
    /// Ready when there may be something to read.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(half) => half.as_ref().poll_read_ready(cx),
            Self::Secure(tls) => tls.poll_read_ready(cx),
        }
    }

    /// Reads once. Nothing is added to `room`: the peer has ended.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(half) if read::may_come_past_tcp() => read::poll_read(half.as_ref(), cx, room).map_ok(drop),
            Self::Plain(half) => Pin::new(half).poll_read(cx, room),
            Self::Secure(tls) => tls.poll_read(cx, room).map_ok(drop),
        }
    }
}

impl WriteHalf<'_> {
    /// Writes once; what TLS still holds then is flushed by [`WriteHalf::poll_flush`].
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(half) => Pin::new(half).poll_write(cx, bytes),
            Self::Secure(tls) => tls.poll_write(cx, &[IoSlice::new(bytes)]),
        }
    }

    /// The same with several pieces.
    pub fn poll_write_vectored(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(half) => Pin::new(half).poll_write_vectored(cx, pieces),
            Self::Secure(tls) => tls.poll_write(cx, pieces),
        }
    }

    /// Ready when all that was written is with the kernel.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Secure(tls) => tls.poll_flush(cx),
        }
    }
}
