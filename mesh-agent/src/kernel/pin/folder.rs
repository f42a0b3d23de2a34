//! The pin folder of one agent: what it holds, whose it is, and what is taken over from the agent before.
//!
//! ```text
//! PATH/maps/NAME               the maps of names::MAPS
//! PATH/links/NAME              what holds a program on its hook; the links of the inbound programs end with a cookie
//! ```
//! One agent per folder: it holds a lock on it, which the kernel lets go when the agent ends, however it ends.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aya::maps::MapInfo;
use mesh_common::config::ABI_AT;
use mesh_common::{ABI_VERSION, names};
use tracing::{info, warn};

use crate::kernel::pin::{PinsError, io_error, remove_if_there};
use crate::kernel::{bpf, bpffs};

/// A folder that is this process's alone.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
    end: End,
    /// The links that an agent before has left, until this one runs.
    found: Option<BTreeSet<String>>,
}

/// What becomes of the pins when the folder is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stay,
    Go,
}

/// What the agent said of itself that made the pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Its version of the kernel interface; zero if it did not come as far as saying.
    pub(crate) abi: u32,
    /// Its cgroup.
    pub(crate) cgroup: u64,
}

/// A program on its hook.
#[derive(Debug)]
pub(crate) struct Link {
    fd: OwnedFd,
    pin: Option<PathBuf>,
}

impl Folder {
    /// Makes the folder this process's, with a file system for it if there is none.
    pub(crate) fn claim(path: &Path) -> Result<Self, PinsError> {
        loop {
            // Nobody unmounts the file system between the look at it and the folder in it.
            let held = bpffs::hold(path)?;
            fs::create_dir_all(path).map_err(io_error(path))?;
            drop(held);
            let lock = File::open(path).map_err(io_error(path))?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(PinsError::Taken { path: path.to_owned(), by: holder(path) });
                }
                Err(TryLockError::Error(source)) => return Err(io_error(path)(source)),
            }
            // Whoever had the lock until now may have removed the folder: then this is a lock on nothing.
            if bpffs::is_same(&lock, path) {
                return Ok(Self { path: path.to_owned(), _lock: lock, end: End::Stay, found: None });
            }
        }
    }

    /// Claims it for an agent and keeps of its pins what this agent can go on with. Until [`Self::settle`] no link stays that was not
    /// there before, and nothing at all if none was.
    pub(crate) fn take_over(path: &Path) -> Result<Self, PinsError> {
        let mut folder = Self::claim(path)?;
        let found = owner(path);
        let kept = kept(found.map_or(0, |owner| owner.abi)).map_err(|found| PinsError::Foreign {
            path: path.to_owned(),
            found,
            own: ABI_VERSION,
        })?;
        let _ = fs::remove_dir_all(folder.path.join(names::PROGRAMS_FOLDER));
        let (maps, links) = (path.join(names::MAPS_FOLDER), path.join(names::LINKS_FOLDER));
        for folder in [&maps, &links] {
            fs::create_dir_all(folder).map_err(io_error(folder))?;
        }
        let found_links: BTreeSet<_> = entries(&links).collect();
        let is_first = found_links.is_empty();
        folder.found = Some(found_links);
        if is_first {
            folder.end = End::Go;
        } else {
            info!(pins = %path.display(), interface = ?found.map(|owner| owner.abi), "taking over from the agent before");
        }
        for name in entries(&maps).filter(|name| !kept.contains(name)) {
            remove_if_there(&maps.join(name))?;
        }
        Ok(folder)
    }

    /// All is in place: the pins stay when this process ends, or go with it.
    pub(crate) fn settle(&mut self, persist: bool) {
        self.found = None;
        self.end = if persist { End::Stay } else { End::Go };
        if !persist {
            // Also if this process is killed.
            self.forget_other_links(|_| false);
        }
    }

    /// Whether its agent came to run.
    pub(crate) fn is_settled(&self) -> bool {
        self.found.is_none()
    }

    /// Where a map is pinned.
    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.path.join(names::MAPS_FOLDER).join(name)
    }

    /// Puts `program` on its hook: through the link that is pinned under this name, which then has this program instead of its old
    /// one, or through a new one.
    pub(crate) fn attach(
        &self,
        name: &str,
        persist: bool,
        program: BorrowedFd<'_>,
        (target, hook): (BorrowedFd<'_>, u32),
    ) -> io::Result<Link> {
        let pin = self.link(name);
        if let Ok(link) = bpf::open(&pin) {
            match bpf::replace(link.as_fd(), program) {
                Ok(()) => return Ok(Link { fd: link, pin: persist.then_some(pin) }),
                // Its namespace may be gone.
                Err(error) => warn!(%error, link = name, "a pinned link takes no other program; it is made anew"),
            }
        }
        // Attached before the old link goes.
        let link = bpf::link(program, target, hook)?;
        let _ = fs::remove_file(&pin);
        if persist {
            bpf::pin(link.as_fd(), &pin)?;
        }
        Ok(Link { fd: link, pin: persist.then_some(pin) })
    }

    /// Removes the links that are none of these: of workloads that are gone, of programs this version does not have.
    pub(crate) fn forget_other_links(&self, wanted: impl Fn(&str) -> bool) {
        let links = self.path.join(names::LINKS_FOLDER);
        for name in entries(&links).filter(|name| !wanted(name)) {
            info!(link = name, "unpinned: nobody asks for it any more");
            if let Err(error) = remove_if_there(&links.join(name)) {
                warn!(%error, "a link stays");
            }
        }
    }

    /// Removes all of it.
    pub(crate) fn remove(mut self) -> Result<(), PinsError> {
        self.end = End::Stay;
        let links = self.path.join(names::LINKS_FOLDER);
        for name in entries(&links) {
            // Without its pin it goes as well, only later. One whose cgroup or namespace is gone is off already.
            let _ = bpf::open(&links.join(name)).and_then(|link| bpf::detach(link.as_fd()));
        }
        remove_all(&self.path)
    }

    fn link(&self, name: &str) -> PathBuf {
        self.path.join(names::LINKS_FOLDER).join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(found) = self.found.take() {
            self.forget_other_links(|name| found.contains(name));
        }
        if self.end == End::Go
            && let Err(error) = remove_all(&self.path)
        {
            warn!(%error, "some pins stay behind");
        }
    }
}

impl Link {
    /// Takes the program off its hook, pinned or not.
    pub(crate) fn detach(self) {
        // It goes off with its pin and its descriptor anyway, only later.
        let _ = bpf::detach(self.fd.as_fd());
        if let Some(pin) = &self.pin
            && let Err(error) = remove_if_there(pin)
        {
            warn!(%error, "a program stays attached");
        }
    }
}

/// Who made the pins there, if somebody got as far as making the map that tells.
pub(crate) fn owner(path: &Path) -> Option<Owner> {
    let pin = path.join(names::MAPS_FOLDER).join(names::KNOBS);
    let size = MapInfo::from_pin(&pin).ok()?.value_size() as usize;
    let value = bpf::first_value(bpf::open(&pin).ok()?.as_fd(), size).ok()?;
    let abi = u32::from_ne_bytes(*value.get(ABI_AT..)?.first_chunk()?);
    Some(Owner { abi, cgroup: u64::from_ne_bytes(*value.first_chunk()?) })
}

/// Whether this agent can go on from what one of version `abi` has pinned.
pub(crate) fn is_known(abi: u32) -> bool {
    kept(abi).is_ok()
}

/// The process that has the folder's lock: its agent, from its first moment on.
pub(crate) fn holder(path: &Path) -> Option<u32> {
    let folder = fs::metadata(path).ok()?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    holder_in(&locks, (libc::major(folder.dev()), libc::minor(folder.dev())), folder.ino())
}

/// Of a line like `1: FLOCK  ADVISORY  WRITE 4711 00:1f:5 0 EOF`. A process of another pid namespace is 0 or less there.
fn holder_in(locks: &str, (major, minor): (u32, u32), inode: u64) -> Option<u32> {
    let file = format!("{major:02x}:{minor:02x}:{inode}");
    let line = locks.lines().find(|line| line.contains(" FLOCK ") && line.split(' ').any(|field| field == file))?;
    line.split_whitespace().nth(4)?.parse().ok().filter(|pid| *pid != 0)
}

/// Which maps of an agent before are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    All,
    Only(&'static [&'static str]),
}

impl Kept {
    fn contains(self, map: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(maps) => maps.contains(&map),
        }
    }
}

/// Those of an agent of version `abi`; the version as the error, if nothing is known of it.
fn kept(abi: u32) -> Result<Kept, u32> {
    match abi {
        // It never went live.
        0 => Ok(Kept::Only(&[])),
        ABI_VERSION => Ok(Kept::All),
        older => {
            names::KEPT_OF.iter().find(|(known, _)| *known == older).map(|(_, maps)| Kept::Only(maps)).ok_or(older)
        }
    }
}

fn remove_all(path: &Path) -> Result<(), PinsError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(path)(error)),
        _ => {}
    }
    bpffs::release(path)
}

fn entries(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_found() {
        let locks = "1: POSIX  ADVISORY  WRITE 12 00:1f:5 0 EOF\n2: FLOCK  ADVISORY  WRITE 4711 00:1f:5 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 0 08:01:77 0 EOF\n";
        assert_eq!(holder_in(locks, (0, 31), 5), Some(4711));
        assert_eq!(holder_in(locks, (8, 1), 77), None);
        assert_eq!(holder_in(locks, (0, 31), 6), None);
    }

    #[test]
    fn only_known_versions_are_taken_over() {
        assert_eq!(kept(0), Ok(Kept::Only(&[])));
        assert_eq!(kept(ABI_VERSION), Ok(Kept::All));
        assert_eq!(kept(ABI_VERSION + 1), Err(ABI_VERSION + 1));
        for (older, maps) in names::KEPT_OF {
            assert!(older < ABI_VERSION);
            assert_eq!(kept(older), Ok(Kept::Only(maps)));
            assert!(maps.iter().all(|map| names::MAPS.contains(map) || names::ACCELERATION_MAPS.contains(map)));
            // Whoever reads it has to find the version that the programs have, which is that of the new agent.
            assert!(!maps.contains(&names::KNOBS));
        }
    }

    #[test]
    fn services_are_kept_with_their_policies_or_not_at_all() {
        // Since this version policies are the kernel's to ask.
        let with_policies = names::KEPT_OF.into_iter().filter(|(older, _)| *older >= 10);
        for (older, maps) in with_policies.filter(|(_, maps)| maps.contains(&names::SERVICES)) {
            for map in [names::RULED, names::RULE_SETS, names::RULE_NETS, names::RULE_PORTS, names::RULE_WHO] {
                assert!(maps.contains(&map), "services of version {older} would be without {map}");
            }
            assert!(maps.contains(&names::POD_ADDRS), "rules ask where from");
        }
    }
}
