//! What is tried, and how it is compared; and the checks of what `recv` and its relatives answer.
//!
//! A check tells what an app sees. All run at once, each on threads of its own: the slowest counts, and one that hangs is one that
//! differs.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionread;
use rustix::net::{RecvFlags, recv};
use rustix::pipe::{SpliceFlags, pipe, splice};
use socket2::SockRef;

use crate::kernel::selftest::ends::{MOMENT, Network, PATIENCE, arrived, call, connect, is_readable, seen};
use crate::kernel::selftest::{Check, endings, sys, wakeups};

/// What is tried. What an app is told, or why that could not be found out.
type Attempt = fn(&dyn Network) -> io::Result<String>;

pub(super) const ALL: [(&str, Attempt); 21] = [
    ("bytes and their order", order),
    ("bytes sent before accept", early),
    ("a reader that does not read", back_pressure),
    ("MSG_PEEK", peek),
    ("FIONREAD", pending),
    ("splice(2)", spliced),
    ("SO_RCVTIMEO", timeout),
    ("MSG_WAITALL", wait_all),
    ("SO_RCVLOWAT", low_water),
    ("urgent data", urgent),
    ("level-triggered epoll", wakeups::level),
    ("edge-triggered epoll", wakeups::edge),
    ("edge-triggered epoll and a short read", wakeups::edge_and_short_read),
    ("a signal that restarts recv", wakeups::restarting_signal),
    ("a signal that interrupts recv", wakeups::interrupting_signal),
    ("the end of sending", endings::half_close),
    ("the end of sending while recv waits", endings::half_close_of_a_reader),
    ("the peer closes", endings::close),
    ("a reset while recv waits", endings::reset_of_a_reader),
    ("a reset with data waiting", endings::reset_with_data),
    ("closing with data unread", endings::close_unread),
];

/// Tries everything on both.
pub(super) fn compare(ordinary: &Arc<dyn Network>, other: &Arc<dyn Network>) -> Vec<Check> {
    let (tell, told) = mpsc::channel();
    for (index, (_, attempt)) in ALL.into_iter().enumerate() {
        let (tell, networks) = (tell.clone(), [Arc::clone(ordinary), Arc::clone(other)]);
        thread::spawn(move || {
            for (which, network) in networks.iter().enumerate() {
                // Nobody listens if it took too long.
                let _ = tell.send((index, which, attempt(&**network)));
            }
        });
    }
    drop(tell);
    let deadline = Instant::now() + LONGEST;
    let mut results = ALL.map(|_| [None, None]);
    while let Ok((index, which, result)) = told.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        results[index][which] = Some(result);
    }
    ALL.iter().zip(results).map(|((name, _), [ordinary, other])| check(name, ordinary, other)).collect()
}

/// What could not be tried on ordinary sockets proves nothing.
fn check(name: &str, ordinary: Option<io::Result<String>>, other: Option<io::Result<String>>) -> Check {
    let same = matches!((&ordinary, &other), (Some(Ok(ordinary)), Some(Ok(other))) if ordinary == other);
    let [ordinary, accelerated] = [ordinary, other].map(|result| match result {
        Some(Ok(seen)) => seen,
        Some(Err(error)) => format!("failed ({error})"),
        None => "did not end".to_owned(),
    });
    Check { name: name.to_owned(), ordinary, accelerated, same }
}

/// More than goes past TCP at once: the direction changes on the way.
fn order(network: &dyn Network) -> io::Result<String> {
    let mut ends = connect(network)?;
    ends.to.set_read_timeout(Some(PATIENCE))?;
    let sent: Vec<u8> = (0..1_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut got = Vec::with_capacity(sent.len());
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            ends.from.set_write_timeout(Some(PATIENCE))?;
            sent.chunks(7919).try_for_each(|piece| ends.from.write_all(piece))?;
            ends.from.shutdown(Shutdown::Write)
        });
        ends.to.read_to_end(&mut got)?;
        writer.join().map_err(|_| io::Error::other("a panic"))?
    })?;
    Ok(if got == sent { "all bytes in order" } else { "other bytes" }.to_owned())
}

fn early(network: &dyn Network) -> io::Result<String> {
    let (mut from, listener) = call(network)?;
    from.write_all(b"early")?;
    let (mut to, _) = listener.accept()?;
    from.write_all(b" and late")?;
    from.shutdown(Shutdown::Write)?;
    to.set_read_timeout(Some(PATIENCE))?;
    let mut got = String::new();
    to.read_to_string(&mut got)?;
    Ok(got)
}

fn back_pressure(network: &dyn Network) -> io::Result<String> {
    let mut ends = connect(network)?;
    SockRef::from(&ends.from).set_send_buffer_size(SMALL)?;
    SockRef::from(&ends.to).set_recv_buffer_size(SMALL)?;
    ends.from.set_nonblocking(true)?;
    let (piece, mut sent, mut refusals) = ([7; 16 * 1024], 0, 0);
    // TCP may be about to make more room.
    while refusals < 3 && sent < ENDLESS {
        match ends.from.write(&piece) {
            Ok(bytes) => sent += bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                refusals += 1;
                thread::sleep(MOMENT);
            }
            Err(error) => return Err(error),
        }
    }
    drop(ends.from);
    ends.to.set_read_timeout(Some(PATIENCE))?;
    let got = io::copy(&mut ends.to, &mut io::sink())?;
    let stopped = if sent < ENDLESS { "is held back" } else { "goes on sending" };
    Ok(format!("the sender {stopped}, and {} arrives", if got == sent as u64 { "all" } else { "not all" }))
}

fn peek(network: &dyn Network) -> io::Result<String> {
    let mut ends = connect(network)?;
    ends.from.write_all(b"here")?;
    arrived(&ends.to)?;
    ends.to.set_nonblocking(true)?;
    let peeked = seen(ends.to.peek(&mut [0; 8]));
    Ok(format!("{peeked}, then {}", seen(ends.to.read(&mut [0; 8]))))
}

fn pending(network: &dyn Network) -> io::Result<String> {
    let mut ends = connect(network)?;
    ends.from.write_all(b"here")?;
    arrived(&ends.to)?;
    Ok(format!("{} B", ioctl_fionread(&ends.to)?))
}

fn spliced(network: &dyn Network) -> io::Result<String> {
    let mut ends = connect(network)?;
    ends.from.write_all(b"here")?;
    arrived(&ends.to)?;
    // As Go does it. With a blocking socket it would hang where it does not see the bytes.
    ends.to.set_nonblocking(true)?;
    let (_reader, writer) = pipe()?;
    Ok(seen(splice(&ends.to, None, &writer, None, 8, SpliceFlags::NONBLOCK)))
}

fn timeout(network: &dyn Network) -> io::Result<String> {
    let mut ends = connect(network)?;
    ends.to.set_read_timeout(Some(4 * MOMENT))?;
    let began = Instant::now();
    let first = seen(ends.to.read(&mut [0; 8]));
    let waited = if began.elapsed() >= 3 * MOMENT { "after its time" } else { "at once" };
    ends.from.write_all(b"here")?;
    // Not every byte is there as soon as it is sent: its delivery may be left to another thread of the kernel.
    arrived(&ends.to)?;
    Ok(format!("{first} {waited}, then {}", seen(ends.to.read(&mut [0; 8]))))
}

fn wait_all(network: &dyn Network) -> io::Result<String> {
    let mut ends = connect(network)?;
    ends.from.write_all(b"half")?;
    arrived(&ends.to)?;
    ends.to.set_read_timeout(Some(2 * PATIENCE))?;
    let reader = sys::this_thread();
    thread::scope(|scope| {
        scope.spawn(|| {
            sys::asleep(reader);
            // If it fails, less is read, which is seen.
            let _ = ends.from.write_all(b"half");
        });
        Ok(seen(recv(&ends.to, &mut [0; 8], RecvFlags::WAITALL).map(|(_, bytes)| bytes)))
    })
}

fn low_water(network: &dyn Network) -> io::Result<String> {
    let mut ends = connect(network)?;
    sys::set_low_water(ends.to.as_fd(), 8)?;
    ends.from.write_all(b"half")?;
    let half = is_readable(&ends.to, 2 * MOMENT)?;
    ends.from.write_all(b"half")?;
    let all = is_readable(&ends.to, PATIENCE)?;
    Ok(match (half, all) {
        (true, _) => "readable before that",
        (false, true) => "readable from there on",
        (false, false) => "not readable",
    }
    .to_owned())
}

fn urgent(network: &dyn Network) -> io::Result<String> {
    let mut ends = connect(network)?;
    ends.from.write_all(b"in ")?;
    SockRef::from(&ends.from).send_out_of_band(b"!")?;
    ends.from.write_all(b"order")?;
    ends.from.shutdown(Shutdown::Write)?;
    ends.to.set_read_timeout(Some(PATIENCE))?;
    arrived(&ends.to)?;
    let apart = seen(recv(&ends.to, &mut [0; 8], RecvFlags::OOB).map(|(_, bytes)| bytes));
    let mut got = String::new();
    ends.to.read_to_string(&mut got)?;
    Ok(format!("{apart} apart, and {got:?}"))
}

/// For all of them together. The slowest takes a quarter of it if nothing else runs.
const LONGEST: Duration = Duration::from_secs(1);
/// The kernel makes of it what it thinks is least.
const SMALL: usize = 32 * 1024;
/// Whoever takes so much would take anything.
const ENDLESS: usize = 4 << 20;
