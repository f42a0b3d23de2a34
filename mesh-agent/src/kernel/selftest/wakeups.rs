//! Checks of who is woken when: by `epoll`, also where a direction has given way to TCP, and by signals.

use std::io::{self, Read as _, Write as _};
use std::thread;

use mesh_common::accelerate::MOST_UNANSWERED;
use rustix::event::{Timespec, epoll};
use rustix::net::{RecvFlags, recv};

use crate::kernel::selftest::ends::{MOMENT, Network, PATIENCE, connect, seen};
use crate::kernel::selftest::sys::{self, Signal};

/// How an app reads when it is told that there is something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// Once, and is told again as long as there is more.
    Level,
    /// Until the kernel says that there is nothing.
    Edge,
    /// Until it gets less than it asked for.
    EdgeAndShortRead,
}

pub(super) fn level(network: &dyn Network) -> io::Result<String> {
    told(network, Reader::Level)
}

pub(super) fn edge(network: &dyn Network) -> io::Result<String> {
    told(network, Reader::Edge)
}

pub(super) fn edge_and_short_read(network: &dyn Network) -> io::Result<String> {
    told(network, Reader::EdgeAndShortRead)
}

/// Sends as much as goes past TCP and a bit that does not, then begins to read.
fn told(network: &dyn Network, reader: Reader) -> io::Result<String> {
    let mut ends = connect(network)?;
    ends.from.set_write_timeout(Some(2 * PATIENCE))?;
    ends.to.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let edge = if reader == Reader::Level { epoll::EventFlags::empty() } else { epoll::EventFlags::ET };
    epoll::add(&epoll, &ends.to, epoll::EventData::new_u64(0), epoll::EventFlags::IN | edge)?;
    let past = usize::try_from(MOST_UNANSWERED).map_err(io::Error::other)? - TCP / 2;
    let patience = Timespec::try_from(PATIENCE).map_err(io::Error::other)?;
    let (mut got, mut buffer) = (0, vec![0; 2 * past]);
    thread::scope(|scope| {
        scope.spawn(|| -> io::Result<()> {
            // In pieces, or all of it would be one that is too large.
            vec![1; past].chunks(PIECE).try_for_each(|piece| ends.from.write_all(piece))?;
            ends.from.write_all(&[2; TCP])
        });
        // An ordinary sender waits for the reader now.
        thread::sleep(4 * MOMENT);
        while got < past + TCP {
            let mut events = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }];
            if epoll::wait(&epoll, &mut events, Some(&patience))? == 0 {
                return Ok("waits for ever with bytes to read".to_owned());
            }
            loop {
                match ends.to.read(&mut buffer) {
                    Ok(0) => return Ok("the end".to_owned()),
                    Ok(bytes) => got += bytes,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
                if reader != Reader::Edge {
                    break;
                }
            }
        }
        Ok("all arrives".to_owned())
    })
}

pub(super) fn restarting_signal(network: &dyn Network) -> io::Result<String> {
    signalled(network, Signal::Restarting)
}

pub(super) fn interrupting_signal(network: &dyn Network) -> io::Result<String> {
    signalled(network, Signal::Interrupting)
}

fn signalled(network: &dyn Network, signal: Signal) -> io::Result<String> {
    signal.handle()?;
    let mut ends = connect(network)?;
    let reader = sys::this_thread();
    thread::scope(|scope| {
        scope.spawn(|| {
            sys::asleep(reader);
            // It is there: whoever started this thread waits for it.
            let _ = signal.send(reader);
            sys::asleep(reader);
            // If it fails the reader hangs, which is seen.
            let _ = ends.from.write_all(b"here");
        });
        Ok(seen(recv(&ends.to, &mut [0; 8], RecvFlags::empty()).map(|(_, bytes)| bytes)))
    })
}

/// Bytes that go by TCP.
const TCP: usize = 8192;
/// Fits into one message.
const PIECE: usize = 4096;
