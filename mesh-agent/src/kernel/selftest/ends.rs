//! Connections to try things on: ordinary ones, and those of any other [`Network`].

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// What makes a connection more than an ordinary one.
pub(super) trait Network: Send + Sync {
    /// Before a socket connects.
    fn prepare(&self, socket: BorrowedFd<'_>) -> io::Result<()>;

    /// Whether a socket of an established connection is what it was to become.
    fn is_ready(&self, socket: BorrowedFd<'_>) -> bool;
}

/// Nothing does.
pub(super) struct Ordinary;

impl Network for Ordinary {
    fn prepare(&self, _: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }

    fn is_ready(&self, _: BorrowedFd<'_>) -> bool {
        true
    }
}

/// Both ends of a connection. In every check `from` sends and `to` is the app that reads.
pub(super) struct Ends {
    pub(super) from: TcpStream,
    pub(super) to: TcpStream,
}

/// A connection that was accepted.
pub(super) fn connect(network: &dyn Network) -> io::Result<Ends> {
    let (from, listener) = call(network)?;
    let ends = Ends { from, to: listener.accept()?.0 };
    let began = Instant::now();
    while !(network.is_ready(ends.from.as_fd()) && network.is_ready(ends.to.as_fd())) {
        if began.elapsed() > PATIENCE {
            return Err(io::Error::other("the connection was not accelerated"));
        }
        thread::sleep(MOMENT);
    }
    Ok(ends)
}

/// A connection that waits to be accepted.
pub(super) fn call(network: &dyn Network) -> io::Result<(TcpStream, TcpListener)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    network.prepare(socket.as_fd())?;
    socket.connect(&SockAddr::from(listener.local_addr()?))?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok((stream, listener))
}

/// Whether there is something to read, by `poll`, which waits so long for it.
pub(super) fn is_readable(stream: &TcpStream, patience: Duration) -> io::Result<bool> {
    let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
    Ok(poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&patience))? == 1)
}

/// Waits until there is something to read.
pub(super) fn arrived(stream: &TcpStream) -> io::Result<()> {
    if is_readable(stream, PATIENCE)? { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
}

/// What an app was told, in a word or two.
pub(super) fn seen<E: Into<io::Error>>(result: Result<usize, E>) -> String {
    match result.map_err(Into::into) {
        Ok(0) => "the end".to_owned(),
        Ok(bytes) => format!("{bytes} B"),
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN) => "EAGAIN".to_owned(),
            Some(libc::EINTR) => "EINTR".to_owned(),
            Some(libc::EINVAL) => "EINVAL".to_owned(),
            Some(libc::EPIPE) => "EPIPE".to_owned(),
            Some(libc::ECONNRESET) => "ECONNRESET".to_owned(),
            _ => error.to_string(),
        },
    }
}

/// After so long, what has not come does not come.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);
/// Long enough for what does not wait to be done.
pub(super) const MOMENT: Duration = Duration::from_millis(5);
