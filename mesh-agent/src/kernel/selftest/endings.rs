//! Checks of how connections end.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use socket2::SockRef;

use crate::kernel::selftest::ends::{Ends, Network, PATIENCE, arrived, connect, seen};
use crate::kernel::selftest::sys;

/// One side ends its sending, the other answers.
pub(super) fn half_close(network: &dyn Network) -> io::Result<String> {
    let mut ends = connect(network)?;
    for end in [&ends.from, &ends.to] {
        end.set_read_timeout(Some(PATIENCE))?;
    }
    ends.from.write_all(b"question")?;
    ends.from.shutdown(Shutdown::Write)?;
    let (mut question, mut answer) = (String::new(), String::new());
    ends.to.read_to_string(&mut question)?;
    ends.to.write_all(b"answer")?;
    ends.to.shutdown(Shutdown::Write)?;
    ends.from.read_to_string(&mut answer)?;
    Ok(format!("{question}, {answer}, then {}", seen(ends.from.write(b"more"))))
}

/// The side that waits in `recv` ends its sending: by another thread, so that it surely waits when the other side's kernel
/// acknowledges that. Neither is anything to read.
pub(super) fn half_close_of_a_reader(network: &dyn Network) -> io::Result<String> {
    let Ends { mut from, to } = connect(network)?;
    let (reader, reading) = (sys::this_thread(), &to);
    thread::scope(|scope| {
        let other = scope.spawn(move || {
            sys::asleep(reader);
            reading.shutdown(Shutdown::Write)?;
            // An acknowledgement alone is held back for 40 ms.
            thread::sleep(PATIENCE);
            from.write_all(b"here")
        });
        let got = seen(recv(&to, &mut [0; 8], RecvFlags::empty()).map(|(_, bytes)| bytes));
        other.join().map_err(|_| io::Error::other("a panic"))??;
        Ok(got)
    })
}

/// While the other side waits in `recv`.
pub(super) fn close(network: &dyn Network) -> io::Result<String> {
    ended(network, None)
}

pub(super) fn reset_of_a_reader(network: &dyn Network) -> io::Result<String> {
    ended(network, Some(Duration::ZERO))
}

fn ended(network: &dyn Network, linger: Option<Duration>) -> io::Result<String> {
    let ends = connect(network)?;
    let (from, reader) = (ends.from, sys::this_thread());
    thread::scope(|scope| {
        scope.spawn(move || {
            sys::asleep(reader);
            end(from, linger)
        });
        Ok(seen(recv(&ends.to, &mut [0; 8], RecvFlags::empty()).map(|(_, bytes)| bytes)))
    })
}

pub(super) fn reset_with_data(network: &dyn Network) -> io::Result<String> {
    let mut ends = connect(network)?;
    ends.from.write_all(b"here")?;
    arrived(&ends.to)?;
    end(ends.from, Some(Duration::ZERO))?;
    ends.to.set_read_timeout(Some(PATIENCE))?;
    let first = seen(ends.to.read(&mut [0; 8]));
    Ok(format!("{first}, then {}", seen(ends.to.read(&mut [0; 8]))))
}

pub(super) fn close_unread(network: &dyn Network) -> io::Result<String> {
    let mut ends = connect(network)?;
    ends.from.write_all(b"here")?;
    arrived(&ends.to)?;
    drop(ends.to);
    ends.from.set_read_timeout(Some(PATIENCE))?;
    Ok(format!("the peer sees {}", seen(ends.from.read(&mut [0; 8]))))
}

/// Closes a socket; one that may not linger resets its connection.
fn end(stream: TcpStream, linger: Option<Duration>) -> io::Result<()> {
    if linger.is_some() {
        SockRef::from(&stream).set_linger(linger)?;
    }
    drop(stream);
    Ok(())
}
