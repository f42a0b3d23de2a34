//! Network namespaces: a thread enters one for as long as it takes to open a socket, and comes back, or the process ends.
//!
//! A thread that stays behind in a pod's namespace would open the agent's next sockets there; no error handling could tell
//! that from the right thing, so coming back must not fail.
#![allow(unsafe_code, reason = "SO_NETNS_COOKIE and setns have no safe wrapper in the crates of this workspace")]

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{io, process};

use socket2::{Domain, Protocol, Socket, Type};

use crate::model::flow::OpenSocket;

/// Why a namespace is of no use.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The file can't be opened.
    #[error("cannot open network namespace {path}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is some other file.
    #[error("{path} is not a network namespace", path = path.display())]
    NotANamespace {
        /// The file.
        path: PathBuf,
    },
    /// It can't be entered, or tells nothing of itself.
    #[error("cannot use network namespace {path}; CAP_SYS_ADMIN and Linux 5.14 are needed, or --no-kernel to go without", path = path.display())]
    Use {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A network namespace, held open.
#[derive(Debug)]
pub(crate) struct Netns {
    file: File,
    cookie: u64,
    /// Where the agent's threads are otherwise; `None` if that is here.
    home: Option<Arc<Netns>>,
}

impl Netns {
    /// The namespace of the calling thread, in which all of the agent's threads are.
    pub(crate) fn home() -> Result<Arc<Self>, NetnsError> {
        let path = Path::new("/proc/thread-self/ns/net");
        let file = File::open(path).map_err(|source| NetnsError::Open { path: path.to_owned(), source })?;
        let cookie = own_cookie().map_err(|source| NetnsError::Use { path: path.to_owned(), source })?;
        Ok(Arc::new(Self { file, cookie, home: None }))
    }

    /// The namespace of a file such as `ip netns` makes, or `/proc/PID/ns/net`.
    pub(crate) fn open(path: &Path, home: &Arc<Self>) -> Result<Arc<Self>, NetnsError> {
        let file = File::open(path).map_err(|source| NetnsError::Open { path: path.to_owned(), source })?;
        let cookie = inside(&file, home, own_cookie).map_err(|source| match source.raw_os_error() {
            Some(libc::EINVAL) => NetnsError::NotANamespace { path: path.to_owned() },
            _ => NetnsError::Use { path: path.to_owned(), source },
        })?;
        if cookie == home.cookie {
            return Ok(Arc::clone(home));
        }
        Ok(Arc::new(Self { file, cookie, home: Some(Arc::clone(home)) }))
    }

    /// The kernel's number for it, never used twice.
    pub(crate) fn cookie(&self) -> u64 {
        self.cookie
    }

    /// Device and inode of its file: the same for everything that is in it.
    pub(crate) fn inode(&self) -> io::Result<(u64, u64)> {
        self.file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    /// Whether the agent itself lives here.
    pub(crate) fn is_home(&self) -> bool {
        self.home.is_none()
    }

    /// Does `work` inside.
    pub(crate) fn enter<R>(&self, work: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        match &self.home {
            Some(home) => inside(&self.file, home, work),
            None => work(),
        }
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl OpenSocket for Netns {
    fn tcp(&self, domain: Domain) -> io::Result<Socket> {
        self.enter(|| Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP)))
    }
}

fn inside<R>(target: &File, home: &Netns, work: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    set(target)?;
    let _back = Back(home);
    work()
}

/// Brings the thread home, also when `work` panics.
struct Back<'a>(&'a Netns);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        if let Err(error) = set(&self.0.file) {
            tracing::error!(%error, "cannot return to the agent's network namespace");
            process::abort();
        }
    }
}

fn set(namespace: &File) -> io::Result<()> {
    // SAFETY: takes a descriptor that is open for as long as the borrow lives; changes only the calling thread.
    let done = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The cookie of the calling thread's namespace: only a socket can be asked for it.
fn own_cookie() -> io::Result<u64> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the option is eight bytes long, as are the value and the length it is given.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if done == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// `asm-generic/socket.h`; the libc crate has it for some targets only.
const SO_NETNS_COOKIE: libc::c_int = 71;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_is_home() {
        let Ok(home) = Netns::home() else { return };
        assert!(home.is_home() && home.cookie() != 0);
        assert!(home.enter(own_cookie).is_ok_and(|cookie| cookie == home.cookie()));
    }

    #[test]
    fn what_is_no_namespace_is_named() {
        let Ok(home) = Netns::home() else { return };
        let missing = Netns::open(Path::new("/nonexistent/netns"), &home).unwrap_err();
        assert_eq!(missing.to_string(), "cannot open network namespace /nonexistent/netns");
    }
}
