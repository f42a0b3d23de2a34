//! The calls of `bpf(2)` that aya does not have: links that are found by their pin and given another program, and a map's value
//! whatever its layout.
#![allow(unsafe_code, reason = "bpf(2) has no safe wrapper in aya for links that are pinned")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Opens what is pinned at `path`.
pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
    let name = c_path(path)?;
    let mut object = Object { path: name.as_ptr() as u64, fd: 0, flags: 0 };
    descriptor(call(BPF_OBJ_GET, &mut object)?)
}

/// Pins `object` at `path`: it lives until that is removed.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let name = c_path(path)?;
    let mut object = Object { path: name.as_ptr() as u64, fd: number(object), flags: 0 };
    call(BPF_OBJ_PIN, &mut object).map(drop)
}

/// Attaches `program` to a hook of `target`, a cgroup or a namespace, along with what others have there.
pub(crate) fn link(program: BorrowedFd<'_>, target: BorrowedFd<'_>, hook: u32) -> io::Result<OwnedFd> {
    let mut link = LinkCreate { program: number(program), target: number(target), hook, flags: 0 };
    descriptor(call(BPF_LINK_CREATE, &mut link)?)
}

/// Gives `link` another program. No moment is without one, and none has both.
pub(crate) fn replace(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut update = LinkUpdate { link: number(link), program: number(program), flags: 0, old: 0 };
    call(BPF_LINK_UPDATE, &mut update).map(drop)
}

/// Takes the program of `link` off its hook, and is done when it is off. A link of which only the last descriptor or pin goes is taken
/// away by the kernel in its own time: until then its program runs. Linux 5.9.
pub(crate) fn detach(link: BorrowedFd<'_>) -> io::Result<()> {
    call(BPF_LINK_DETACH, &mut number(link)).map(drop)
}

/// Makes `program` the one of a map of sockets, instead of what was. It stays as long as the map.
pub(crate) fn attach_to_map(program: BorrowedFd<'_>, map: BorrowedFd<'_>, hook: u32) -> io::Result<()> {
    let mut attach = Attach { target: number(map), program: number(program), hook, flags: 0 };
    call(BPF_PROG_ATTACH, &mut attach).map(drop)
}

/// The first value of an array of maps whose values have this size.
pub(crate) fn first_value(map: BorrowedFd<'_>, size: usize) -> io::Result<Vec<u8>> {
    let key = 0_u32;
    // The kernel writes in multiples of eight bytes for some kinds of maps.
    let mut value = vec![0_u8; size.next_multiple_of(8)];
    let mut element =
        Element { map: number(map), pad: 0, key: (&raw const key) as u64, value: value.as_mut_ptr() as u64, flags: 0 };
    call(BPF_MAP_LOOKUP_ELEM, &mut element)?;
    value.truncate(size);
    Ok(value)
}

/// The parts of `union bpf_attr` that all kernels with links know.
#[repr(C)]
struct Object {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    hook: u32,
    flags: u32,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    target: u32,
    hook: u32,
    flags: u32,
}

#[repr(C)]
struct LinkUpdate {
    link: u32,
    program: u32,
    flags: u32,
    old: u32,
}

#[repr(C)]
struct Element {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

fn call<T>(command: libc::c_long, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of attributes, which are alive, as are the buffers they point to.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

fn descriptor(answer: libc::c_long) -> io::Result<OwnedFd> {
    let fd = i32::try_from(answer).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made it for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;
const BPF_LINK_DETACH: libc::c_long = 34;
