//! One connection that speaks TLS, used like a socket: every operation takes `&self`, so that its two directions can be held by two
//! owners, who belong to one task.
//!
//! What is read and written meets in the session, so neither side may be held across an `await`. What was encrypted and found no room in
//! the socket stays in the session until it is flushed; nothing more is taken before. An end without `close_notify` is an error: it could
//! be anybody's doing.

use std::cell::{RefCell, RefMut};
use std::future::poll_fn;
use std::io::{self, BufRead as _, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use rustls::Connection;
use socket2::SockRef;
use tokio::net::TcpStream;

/// See the module.
#[derive(Debug)]
pub struct TlsStream {
    tcp: TcpStream,
    session: RefCell<Connection>,
}

impl TlsStream {
    pub(super) fn new(tcp: TcpStream, session: Connection) -> Self {
        Self { tcp, session: RefCell::new(session) }
    }

    /// The socket.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// What both sides agreed to speak inside (ALPN).
    #[must_use]
    pub fn protocol(&self) -> Option<Vec<u8>> {
        self.session().alpn_protocol().map(<[u8]>::to_vec)
    }

    pub(super) async fn shake_hands(&self) -> io::Result<()> {
        poll_fn(|cx| {
            let mut session = self.session();
            loop {
                ready!(self.poll_send(cx, &mut session))?;
                if !session.is_handshaking() {
                    return Poll::Ready(Ok(()));
                }
                if ready!(self.poll_receive(cx, &mut session))? == 0 {
                    return Poll::Ready(Err(io::Error::new(ErrorKind::UnexpectedEof, "closed during the handshake")));
                }
            }
        })
        .await
    }

    /// Ready when something was received, or nothing more will be.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut session = self.session();
        loop {
            match session.reader().fill_buf() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // An error is told by who reads.
                _ => return Poll::Ready(Ok(())),
            }
            // The peer may be waiting for what is still here.
            let _ = self.send(&mut session);
            ready!(self.poll_receive(cx, &mut session))?;
        }
    }

    /// Reads once. Ready with 0: the peer has ended.
    pub fn poll_read(&self, cx: &mut Context<'_>, room: &mut impl BufMut) -> Poll<io::Result<usize>> {
        ready!(self.poll_read_ready(cx))?;
        let mut session = self.session();
        let mut reader = session.reader();
        let received = reader.fill_buf()?;
        let taken = received.len().min(room.remaining_mut());
        room.put_slice(&received[..taken]);
        reader.consume(taken);
        Poll::Ready(Ok(taken))
    }

    /// Reads what is there, without waiting.
    ///
    /// # Errors
    /// `WouldBlock`: nothing is.
    pub fn try_read(&self, room: &mut [u8]) -> io::Result<usize> {
        let mut session = self.session();
        loop {
            match session.reader().read(room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.receive(&mut session)?;
        }
    }

    /// Writes once; what is not on its way then is flushed.
    pub fn poll_write(&self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        Poll::Ready(self.try_write(pieces))
    }

    /// Writes what can be, without waiting.
    ///
    /// # Errors
    /// `WouldBlock`: nothing can be.
    pub fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut session = self.session();
        self.send(&mut session)?;
        let written = session.writer().write_vectored(pieces)?;
        match self.send(&mut session) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(written),
        }
    }

    /// Ready when all that was written is on its way.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx, &mut self.session())
    }

    /// Says that nothing more will be sent.
    pub fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut session = self.session();
        // Said once, however often it is asked for.
        session.send_close_notify();
        ready!(self.poll_send(cx, &mut session))?;
        Poll::Ready(SockRef::from(&self.tcp).shutdown(Shutdown::Write))
    }

    fn session(&self) -> RefMut<'_, Connection> {
        self.session.borrow_mut()
    }

    /// Receives once. 0: the peer has ended.
    fn poll_receive(&self, cx: &mut Context<'_>, session: &mut Connection) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.tcp.poll_read_ready(cx))?;
            match self.receive(session) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn receive(&self, session: &mut Connection) -> io::Result<usize> {
        let received = session.read_tls(&mut Socket(&self.tcp))?;
        if let Err(error) = session.process_new_packets() {
            // The peer hears why, if it listens.
            let _ = self.send(session);
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        Ok(received)
    }

    fn poll_send(&self, cx: &mut Context<'_>, session: &mut Connection) -> Poll<io::Result<()>> {
        loop {
            match self.send(session) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => ready!(self.tcp.poll_write_ready(cx))?,
                result => return Poll::Ready(result),
            }
        }
    }

    fn send(&self, session: &mut Connection) -> io::Result<()> {
        while session.wants_write() {
            session.write_tls(&mut Socket(&self.tcp))?;
        }
        Ok(())
    }
}

/// A socket that answers at once.
struct Socket<'a>(&'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(room)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
