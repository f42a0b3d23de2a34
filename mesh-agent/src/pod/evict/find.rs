//! Which sockets talk to an endpoint, and who has them.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use tracing::{debug, warn};

use crate::model::service::{Lost, Protocol};
use crate::pod::netns::Netns;

/// Sockets by inode, and whom each talks to.
pub(super) type Wanted = HashMap<u64, (Protocol, SocketAddr)>;

/// The sockets in these namespaces that talk to an endpoint that is gone.
pub(super) fn sockets(namespaces: &[Arc<Netns>], lost: &Lost) -> Wanted {
    let mut wanted = Wanted::new();
    let is_lost = |protocol: Protocol| lost.0.keys().any(|(of, _)| *of == protocol);
    let files: Vec<_> = FILES.into_iter().filter(|(_, protocol)| is_lost(*protocol)).collect();
    for netns in namespaces {
        for &(file, protocol) in &files {
            // `net` of this thread: the folder of the process would show another namespace's sockets.
            match netns.enter(|| fs::read_to_string(Path::new("/proc/thread-self/net").join(file))) {
                Ok(table) => {
                    let talks_to_lost = |(_, remote): &(u64, SocketAddr)| lost.0.contains_key(&(protocol, *remote));
                    let found = table.lines().skip(1).filter_map(line).filter(talks_to_lost);
                    wanted.extend(found.map(|(inode, remote)| (inode, (protocol, remote))));
                }
                // Without IPv6 there is no file for it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => warn!(%error, file, "cannot read the sockets of a workload's namespace"),
            }
        }
    }
    wanted
}

/// Borrows each wanted socket from a process that has it, once, and takes it off the list. The agent's own go off as well.
pub(super) fn held(
    namespaces: &[Arc<Netns>],
    wanted: &mut Wanted,
    mut each: impl FnMut(OwnedFd, (Protocol, SocketAddr)),
) {
    for (_, inode) in descriptors(Path::new("/proc/self/fd")) {
        wanted.remove(&inode);
    }
    let inside: BTreeSet<_> = namespaces.iter().filter_map(|netns| netns.inode().ok()).collect();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        if wanted.is_empty() {
            return;
        }
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        // A process may end at any time; its sockets are closed then.
        let Ok(netns) = fs::metadata(process.path().join("ns/net")) else { continue };
        if !inside.contains(&(netns.dev(), netns.ino())) {
            continue;
        }
        for (number, inode) in descriptors(&process.path().join("fd")) {
            let Some(&endpoint) = wanted.get(&inode) else { continue };
            match borrow(pid, number, inode) {
                Ok(Some(socket)) => {
                    wanted.remove(&inode);
                    each(socket, endpoint);
                }
                Ok(None) => {}
                Err(error) => debug!(%error, pid = pid.as_raw_nonzero(), "a socket cannot be borrowed"),
            }
        }
    }
}

/// The numbers of the sockets among the descriptors of a process, and their inodes.
fn descriptors(folder: &Path) -> impl Iterator<Item = (i32, u64)> {
    fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
        Some((entry.file_name().to_str()?.parse().ok()?, inode))
    })
}

/// `None`: the number stands for something else by now.
fn borrow(pid: Pid, number: i32, inode: u64) -> io::Result<Option<OwnedFd>> {
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let socket = pidfd_getfd(process.as_fd(), number, PidfdGetfdFlags::empty())?;
    let is_it = fs::File::from(socket.try_clone()?).metadata()?.ino() == inode;
    Ok(is_it.then_some(socket))
}

/// A line of `/proc/net/tcp` and its like: the socket's inode and the other end.
fn line(line: &str) -> Option<(u64, SocketAddr)> {
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    let (ip, port) = fields.get(2)?.split_once(':')?;
    // The kernel prints each word of an address as a number of this machine.
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match ip.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut octets = [0; 16];
            for (at, bytes) in octets.chunks_mut(4).enumerate() {
                bytes.copy_from_slice(&word(at * 8)?);
            }
            IpAddr::from(Ipv6Addr::from(octets)).to_canonical()
        }
        _ => return None,
    };
    let inode = fields.get(9)?.parse().ok().filter(|inode| *inode != 0)?;
    Some((inode, SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?)))
}

const FILES: [(&str, Protocol); 4] =
    [("tcp", Protocol::Tcp), ("tcp6", Protocol::Tcp), ("udp", Protocol::Udp), ("udp6", Protocol::Udp)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_are_read_as_the_kernel_writes_them() {
        for (text, expected) in [
            (
                "   1: 0202F40A:9C40 0302F40A:1F90 01 00000000:00000000 02:00000915 00000000  0   0 31337 2 0 20 4 30 10 -1",
                Some((31337, "10.244.2.3:8080")),
            ),
            (
                "   0: 0000000000000000FFFF00000202F40A:9C40 0000000000000000FFFF00000302F40A:0050 01 0:0 0:0 0 0 0 7 1",
                Some((7, "10.244.2.3:80")),
            ),
            (
                "   2: 000000FD000000000000000002000000:9C40 000000FD000000000000000003000000:0035 01 0:0 0:0 0 0 0 8 1",
                Some((8, "[fd00::3]:53")),
            ),
            // In TIME_WAIT nobody has it.
            ("   1: 0202F40A:9C40 0302F40A:1F90 06 00000000:00000000 03:00000915 00000000  0   0 0 2 0", None),
            ("nonsense", None),
        ] {
            let expected = expected.map(|(inode, address): (u64, &str)| (inode, address.parse().unwrap()));
            assert_eq!(line(text), expected, "{text}");
        }
    }
}
