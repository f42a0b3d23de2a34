//! Much data in one direction: moved by the kernel from socket to socket, by way of a pipe, so that it is never copied into this
//! process and out of it again (`splice(2)`).
//!
//! Pages are handed over in large batches: with a pipe of a megabyte a gigabyte costs about half of what copying costs. A direction
//! has a pipe only while there are bytes in it, so a thread needs few of them, and has a limit: a direction that finds none left
//! goes on copying.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// The pipes of one thread.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    empty: RefCell<Vec<Pipe>>,
    lent: Cell<usize>,
}

/// What came of moving one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Batch {
    /// So many bytes were moved; zero: there are none for now.
    Moved(usize),
    /// The sender has ended.
    End,
    /// Every pipe is in use: copy instead.
    NoPipe,
}

impl Pipes {
    /// Moves what has arrived at `from`, at most a pipe full, and waits until `to` has taken all of it. `read` is told how much it is
    /// before it is written.
    pub(super) async fn move_batch(&self, from: &TcpStream, to: &TcpStream, read: &impl Fn(u64)) -> io::Result<Batch> {
        let Some(mut pipe) = self.lend() else { return Ok(Batch::NoPipe) };
        let moved = match pipe.fill(from) {
            Ok(0) => return Ok(Batch::End),
            Ok(moved) => moved,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Batch::Moved(0)),
            Err(error) => return Err(error),
        };
        read(moved as u64);
        while pipe.holds > 0 {
            to.writable().await?;
            match pipe.drain(to) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        Ok(Batch::Moved(moved))
    }

    fn lend(&self) -> Option<Lent<'_>> {
        if self.lent.get() >= MOST_LENT {
            return None;
        }
        let pipe = match self.empty.borrow_mut().pop() {
            Some(pipe) => pipe,
            None => Pipe::open().inspect_err(|error| tracing::debug!(%error, "no pipe; bytes are copied")).ok()?,
        };
        self.lent.set(self.lent.get() + 1);
        Some(Lent { pipe: Some(pipe), holds: 0, pipes: self })
    }
}

#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    fn open() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Without privilege there is a limit on the sum of all pipes. A small one works too.
        if let Err(error) = fcntl_setpipe_size(&write, SIZE) {
            tracing::debug!(%error, "a pipe stays small");
        }
        Ok(Self { read, write })
    }
}

/// A pipe in use. It serves others afterwards, unless there is still something in it: then the exchange was cut off, and what is in
/// the pipe goes with it.
#[derive(Debug)]
struct Lent<'a> {
    /// Taken out by the drop alone.
    pipe: Option<Pipe>,
    holds: usize,
    pipes: &'a Pipes,
}

impl Lent<'_> {
    fn fill(&mut self, from: &TcpStream) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else { return Ok(0) };
        self.holds = from.try_io(Interest::READABLE, || Ok(splice(from, None, &pipe.write, None, SIZE, FLAGS)?))?;
        Ok(self.holds)
    }

    fn drain(&mut self, to: &TcpStream) -> io::Result<()> {
        let Some(pipe) = &self.pipe else { return Ok(()) };
        self.holds -= to.try_io(Interest::WRITABLE, || Ok(splice(&pipe.read, None, to, None, self.holds, FLAGS)?))?;
        Ok(())
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.pipes.lent.set(self.pipes.lent.get() - 1);
        if self.holds == 0 {
            self.pipes.empty.borrow_mut().extend(self.pipe.take());
        }
    }
}

/// Bytes in one pipe, which is one batch.
const SIZE: usize = 1 << 20;
/// Pipes of one thread that may have bytes in them at once: the bound of what slow receivers make the kernel hold here.
const MOST_LENT: usize = 64;
const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::proxy::tcp::tests::pair;

    #[tokio::test]
    async fn pipes_are_used_again_and_bounded() {
        let pipes = Pipes::default();
        let lent: Vec<_> = (0..MOST_LENT).map(|_| pipes.lend().expect("a pipe")).collect();
        assert!(pipes.lend().is_none());
        drop(lent);
        assert_eq!((pipes.lent.get(), pipes.empty.borrow().len()), (0, MOST_LENT));
        drop(pipes.lend());
        assert_eq!(pipes.empty.borrow().len(), MOST_LENT, "none was made anew");
    }

    #[tokio::test]
    async fn a_pipe_with_something_in_it_serves_nobody_else() {
        let (pipes, (mut client, from), (to, _server)) = (Pipes::default(), pair().await, pair().await);
        // The receiver takes nothing: its buffers fill up, and the last batch stays in the pipe.
        let stall = async {
            loop {
                from.readable().await.expect("open");
                pipes.move_batch(&from, &to, &|_| {}).await.expect("moved");
            }
        };
        let flood = async { while client.write_all(&[1; 65536]).await.is_ok() {} };
        let stalled = tokio::time::timeout(std::time::Duration::from_millis(200), async { tokio::join!(stall, flood) });
        assert!(stalled.await.is_err());
        assert_eq!((pipes.lent.get(), pipes.empty.borrow().len()), (0, 0));
    }

    #[tokio::test]
    async fn a_batch_is_what_has_arrived() {
        let (pipes, (mut client, from), (to, mut server)) = (Pipes::default(), pair().await, pair().await);
        assert_eq!(pipes.move_batch(&from, &to, &|_| panic!("nothing is there")).await.expect("open"), Batch::Moved(0));
        client.write_all(b"seven..").await.expect("written");
        client.shutdown().await.expect("ended");
        from.readable().await.expect("open");
        assert_eq!(pipes.move_batch(&from, &to, &|bytes| assert_eq!(bytes, 7)).await.expect("moved"), Batch::Moved(7));
        let mut got = [0; 7];
        server.read_exact(&mut got).await.expect("arrived");
        assert_eq!(&got, b"seven..");
        from.readable().await.expect("ended");
        assert_eq!(pipes.move_batch(&from, &to, &|_| {}).await.expect("ended"), Batch::End);
    }
}
