//! The file system in which pins live: found, or mounted where it belongs and taken away again with the last pin.
//!
//! Agents start and end as they like, so whoever mounts it, unmounts it or is about to make a folder in it holds a lock on its
//! root: otherwise one agent would unmount what another has just pinned, or two would mount one above the other.
#![allow(unsafe_code, reason = "statfs, mount and umount have no safe wrapper in the crates of this workspace")]

use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::{io, ptr};

use crate::kernel::pin::{PinsError, io_error};
use crate::model::mount;

/// Where a BPF file system is expected.
pub(crate) const DEFAULT_MOUNT: &str = "/sys/fs/bpf";

/// Whether `path`, or the nearest folder above it that exists, is on a BPF file system.
pub(crate) fn holds(path: &Path) -> io::Result<bool> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or_else(|| Path::new("/"));
    let name = c_path(existing)?;
    let mut found = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the name ends with a zero byte, and the kernel fills the structure it is given.
    if unsafe { libc::statfs(name.as_ptr(), found.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so the structure is filled.
    let found = unsafe { found.assume_init() };
    Ok(found.f_type == libc::BPF_FS_MAGIC)
}

/// The mount a path on a BPF file system is on: the usual one, or whichever the mount table names first above the path.
pub(crate) fn mount_point(path: &Path) -> PathBuf {
    let mounts = mounts();
    let above = mount::all("bpf", &mounts).map(|mount| mount.path).find(|mount| path.starts_with(mount));
    above.unwrap_or_else(|| PathBuf::from(DEFAULT_MOUNT))
}

/// Makes sure that `path` is on one, and that it stays mounted while the answer lives.
pub(crate) fn hold(path: &Path) -> Result<File, PinsError> {
    loop {
        if holds(path).map_err(io_error(path))? {
            let root = mount_point(path);
            let lock = locked(&root)?;
            if is_same(&lock, &root) && holds(path).map_err(io_error(path))? {
                return Ok(lock);
            }
            continue;
        }
        if !path.starts_with(DEFAULT_MOUNT) {
            return Err(PinsError::NotBpffs { path: path.to_owned() });
        }
        let root = Path::new(DEFAULT_MOUNT);
        fs::create_dir_all(root).map_err(io_error(root))?;
        let lock = locked(root)?;
        if is_same(&lock, root) {
            mount(root).map_err(io_error(root))?;
        }
    }
}

/// Unmounts the one that `path` is on, if an agent mounted it and nobody has anything there.
pub(crate) fn release(path: &Path) -> Result<(), PinsError> {
    let root = mount_point(path);
    if !is_an_agents(&root) {
        return Ok(());
    }
    let lock = locked(&root)?;
    // Asked again: meanwhile that one may have been unmounted and somebody else's mounted.
    if !is_same(&lock, &root) || !is_an_agents(&root) {
        return Ok(());
    }
    let mut entries = fs::read_dir(&root).map_err(io_error(&root))?.flatten();
    // Only the kernel makes names with a dot here.
    if entries.any(|entry| !entry.file_name().to_string_lossy().contains('.')) {
        return Ok(());
    }
    unmount(&root).map_err(io_error(&root))
}

/// Whether `path` still leads to this file.
pub(crate) fn is_same(file: &File, path: &Path) -> bool {
    let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().and_then(|opened| Ok(id(opened) == id(fs::metadata(path)?))).unwrap_or(false)
}

/// Whether an agent mounted what is on top there. The mount itself says so: a mark that is made afterwards can be missed, by an agent
/// that is killed before it makes it and by one that unmounts.
fn is_an_agents(root: &Path) -> bool {
    let mounts = mounts();
    mount::all("bpf", &mounts).filter(|mount| mount.path == root).last().is_some_and(|mount| mount.source == SOURCE)
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mounts").unwrap_or_default()
}

fn locked(folder: &Path) -> Result<File, PinsError> {
    let lock = File::open(folder).map_err(io_error(folder))?;
    lock.lock().map_err(io_error(folder))?;
    Ok(lock)
}

fn mount(target: &Path) -> io::Result<()> {
    let name = c_path(target)?;
    let source = CString::new(SOURCE)?;
    // SAFETY: all strings end with a zero byte, and this type of file system takes no data.
    let done = unsafe { libc::mount(source.as_ptr(), name.as_ptr(), c"bpf".as_ptr(), 0, ptr::null()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// At once, though the lock on its root is open.
fn unmount(target: &Path) -> io::Result<()> {
    let name = c_path(target)?;
    // SAFETY: the name ends with a zero byte.
    let done = unsafe { libc::umount2(name.as_ptr(), libc::MNT_DETACH) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// What the table of mounts names as the source of one that an agent mounted.
const SOURCE: &str = "mesh-agent";
