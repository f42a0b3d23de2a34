//! The file system in which pins live. Only `load` and `unload` need it.
#![allow(unsafe_code, reason = "statfs, mount and umount have no safe wrapper in the crates of this workspace")]

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io, ptr};

use crate::kernel::cgroup;

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
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let above = |mount: &PathBuf| path.starts_with(mount);
    cgroup::mounts_of("bpf", &mounts).find(above).unwrap_or_else(|| PathBuf::from(DEFAULT_MOUNT))
}

/// Mounts one.
pub(crate) fn mount(target: &Path) -> io::Result<()> {
    fs::create_dir_all(target)?;
    let name = c_path(target)?;
    // SAFETY: all strings end with a zero byte, and this type of file system takes no data.
    let done = unsafe { libc::mount(c"bpf".as_ptr(), name.as_ptr(), c"bpf".as_ptr(), 0, ptr::null()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Unmounts one.
pub(crate) fn unmount(target: &Path) -> io::Result<()> {
    let name = c_path(target)?;
    // SAFETY: the name ends with a zero byte.
    let done = unsafe { libc::umount(name.as_ptr()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}
