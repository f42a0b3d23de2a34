//! The sockets of the admin interface.
//!
//! A socket file outlives the agent that made it. Whether one is in use shows only when somebody connects, and between that
//! answer and `unlink` another agent may have taken the path: so all of it happens under a lock on the folder.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

const BACKLOG: i32 = 128;
/// How long another agent's start may hold the lock.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two attempts to take it.
const PAUSE: Duration = Duration::from_millis(10);

/// Why the admin interface can't be reached.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another agent has the socket.
    #[error("another agent listens on {path}: end it, or give this one another --admin-socket")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The path is taken by something else, which is not ours to remove.
    #[error("{path} exists and is not a socket")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The path is not this user's to make a socket at.
    #[error("cannot listen on {path}: {source}; name a place of your own with --admin-socket")]
    NotAllowed {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The Unix socket could not be made.
    #[error("cannot listen on {path}: {source}")]
    Unix {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The configured address could not be bound.
    #[error("cannot listen on admin address {address}: {source}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The bound sockets. The socket file goes with them.
#[derive(Debug)]
pub struct Listeners {
    pub(super) unix: UnixListener,
    pub(super) tcp: Option<TcpListener>,
    _file: SocketFile,
}

impl Listeners {
    /// Listens on the Unix socket `path` and, if given, on `address`.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(path: &Path, address: Option<SocketAddr>) -> Result<Self, BindError> {
        // The Unix socket first: that it is taken says more than that a port is.
        let (unix, file) = bind_unix(path)?;
        let tcp = address.map(bind_tcp).transpose()?;
        Ok(Self { unix, tcp, _file: file })
    }

    /// The TCP address in use.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref()?.local_addr().ok()
    }
}

fn bind_tcp(address: SocketAddr) -> Result<TcpListener, BindError> {
    let listen = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    listen().map_err(|source| BindError::Tcp { address, source })
}

fn bind_unix(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    let failed = |source| unix(path, source);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let _lock = lock(folder).map_err(failed)?;
    remove_stale(path)?;
    let listener = listen_unix(path).map_err(failed)?;
    let file = SocketFile::of(path).map_err(failed)?;
    Ok((listener, file))
}

/// Locks `folder`. Anybody who may read it may lock it too, so nobody's lock is waited for for ever.
fn lock(folder: &Path) -> io::Result<File> {
    let file = File::open(folder)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Err(io::Error::other("somebody keeps its folder locked")),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Removes a socket file that nobody listens on.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |source| unix(path, source);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match is_listening(path) {
        Ok(false) => fs::remove_file(path).map_err(failed),
        Ok(true) => Err(BindError::InUse { path: path.to_owned() }),
        Err(error) => Err(failed(error)),
    }
}

fn is_listening(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        // An agent that hangs, with a full queue: a socket that blocks would wait for it.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error),
    }
}

fn unix(path: &Path, source: io::Error) -> BindError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::PermissionDenied => BindError::NotAllowed { path, source },
        _ => BindError::Unix { path, source },
    }
}

fn listen_unix(path: &Path) -> io::Result<UnixListener> {
    // Linux takes the mode of the socket for the file that `bind` makes: there is no moment when others could connect.
    let socket = File::from(OwnedFd::from(Socket::new(Domain::UNIX, Type::STREAM, None)?));
    socket.set_permissions(Permissions::from_mode(0o600))?;
    let socket = Socket::from(OwnedFd::from(socket));
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into())
}

/// A socket file that is removed with its listener, unless another agent's has taken its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), inode: inode(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|now| now == self.inode) {
            // If it can't be removed, the next agent finds that nobody listens.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}
