//! The system calls of the self-test that have no safe wrapper in the crates of this workspace.
#![allow(unsafe_code, reason = "unshare, SIOCSIFFLAGS, SO_RCVLOWAT, sigaction and tgkill have no safe wrapper here")]

use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::time::Instant;
use std::{fs, io, mem, process, ptr, thread};

use rustix::thread::{Pid, gettid};
use socket2::{Domain, Socket, Type};

use crate::kernel::selftest::ends::{MOMENT, PATIENCE};

/// A signal that a check sends to one of its threads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signal {
    /// What it interrupts goes on afterwards.
    Restarting,
    /// What it interrupts fails.
    Interrupting,
}

impl Signal {
    fn number(self) -> libc::c_int {
        match self {
            Self::Restarting => libc::SIGUSR1,
            Self::Interrupting => libc::SIGUSR2,
        }
    }

    /// Has the process do nothing about it, instead of dying of it.
    pub(super) fn handle(self) -> io::Result<()> {
        // SAFETY: all zero is a valid value: no flags, an empty mask, the default action.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        action.sa_sigaction = nothing as *const () as usize;
        action.sa_flags = match self {
            Self::Restarting => libc::SA_RESTART,
            Self::Interrupting => 0,
        };
        // SAFETY: the action is alive, and its handler does nothing, which is safe at any moment.
        done(unsafe { libc::sigaction(self.number(), &raw const action, ptr::null_mut()) })
    }

    pub(super) fn send(self, thread: Pid) -> io::Result<()> {
        let (process, thread) = (process::id(), thread.as_raw_nonzero().get());
        // SAFETY: takes three numbers; a thread that has ended is an error.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, self.number()) };
        if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

extern "C" fn nothing(_: libc::c_int) {}

/// The calling thread.
pub(super) fn this_thread() -> Pid {
    gettid()
}

/// Waits until a thread of this process sleeps, in whatever call it makes, or has ended.
pub(super) fn asleep(thread: Pid) {
    let path = format!("/proc/self/task/{}/stat", thread.as_raw_nonzero());
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        match fs::read_to_string(&path) {
            // The name in parentheses may hold anything.
            Ok(stat) if stat.rsplit(')').next().is_some_and(|rest| !rest.starts_with(" S")) => thread::yield_now(),
            _ => break,
        }
    }
    thread::sleep(MOMENT);
}

/// Moves the calling thread into a network namespace of its own.
pub(super) fn leave_network() -> io::Result<()> {
    // SAFETY: changes the calling thread only, and none of its memory.
    done(unsafe { libc::unshare(libc::CLONE_NEWNET) })
}

/// In a new namespace it is down.
pub(super) fn raise_loopback() -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // SAFETY: all zero is a valid value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: this request reads name and flags of the structure, which is alive.
    done(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })
}

/// From so many bytes on a socket is readable.
pub(super) fn set_low_water(socket: BorrowedFd<'_>, bytes: libc::c_int) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    let (socket, bytes) = (socket.as_raw_fd(), (&raw const bytes).cast());
    // SAFETY: the value is an integer of the size that is given, and alive.
    done(unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, bytes, size) })
}

fn done(answer: libc::c_int) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
