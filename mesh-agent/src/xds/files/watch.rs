//! Which files may have changed, told by the kernel (inotify).
//!
//! Folders are watched, not files: a file is replaced by moving another one over it, and then a watch of the old one sees nothing. It
//! counts as changed when something was moved to its name, or what was written there is closed; never in the middle of writing. Whatever
//! else happens in its folder, or in `watched_directory`, counts if the path leads elsewhere since: Kubernetes exchanges the link `..data`
//! in the middle of it. A folder that is not there is waited for in the nearest one above it that is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::net::unix::pipe::Receiver;

use crate::xds::files::Key;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    /// Opened with the first watch: there are few for each user of a machine. No pipe, but read like one.
    kernel: Option<Receiver>,
    folders: BTreeMap<PathBuf, Folder>,
    /// Which folders rely on a watch.
    relying: HashMap<i32, BTreeSet<PathBuf>>,
    /// Where each file was when it was looked at last.
    places: BTreeMap<Key, Option<PathBuf>>,
}

/// A folder in which something may happen.
#[derive(Debug)]
struct Folder {
    watch: i32,
    /// The watch is this folder's, not that of one above it.
    is_there: bool,
    files: BTreeSet<Key>,
}

/// Something that happened.
#[derive(Debug)]
struct Event {
    watch: i32,
    what: ReadFlags,
    /// To what in the folder; to the folder itself if `None`.
    name: Option<OsString>,
}

/// What may mean that a file is another one. Whoever makes a link says no more than that it is made.
const NEWS: WatchFlags = WatchFlags::MOVED_TO
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

impl Watcher {
    /// Watches a file from now on.
    pub(super) fn watch(&mut self, key: &Key) -> Result<(), String> {
        self.places.insert(key.clone(), place(key));
        for path in folders(key) {
            if let Some(folder) = self.folders.get_mut(&path) {
                folder.files.insert(key.clone());
                continue;
            }
            let (watch, is_there) = self.place(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            self.relying.entry(watch).or_default().insert(path.clone());
            self.folders.insert(path, Folder { watch, is_there, files: BTreeSet::from([key.clone()]) });
        }
        Ok(())
    }

    /// Watches it no longer.
    pub(super) fn forget(&mut self, key: &Key) {
        self.places.remove(key);
        for path in folders(key) {
            let Some(folder) = self.folders.get_mut(&path) else { continue };
            folder.files.remove(key);
            if folder.files.is_empty() {
                let watch = folder.watch;
                self.folders.remove(&path);
                self.leave(watch, &path);
            }
        }
    }

    /// Waits until files may have changed: which ones.
    pub(super) async fn changed(&mut self) -> BTreeSet<Key> {
        let Some(kernel) = &self.kernel else { return std::future::pending().await };
        let mut events = Vec::new();
        let mut buffer = [0; 4096];
        // All there are now: as many as the kernel's queue takes, at most.
        while events.is_empty() {
            // There is nothing to be done about one that cannot be waited for: what is live stays.
            let Ok(()) = kernel.readable().await else { return std::future::pending().await };
            while let Ok(length @ 1..) = kernel.try_read(&mut buffer) {
                read(&buffer[..length], &mut events);
            }
        }
        let mut changed = BTreeSet::new();
        for Event { watch, what, name } in events {
            if what.contains(ReadFlags::QUEUE_OVERFLOW) {
                // Whatever it was.
                changed.extend(self.places.keys().cloned());
            }
            self.happened(watch, what, name.as_deref(), &mut changed);
        }
        for key in &changed {
            let now = place(key);
            let before = self.places.insert(key.clone(), now.clone());
            if before.is_some_and(|before| before != now) {
                folders(key).iter().for_each(|path| self.renew(path));
            }
        }
        changed
    }

    /// A path may lead to another folder now.
    fn renew(&mut self, path: &Path) {
        let Some(before) = self.folders.get(path).map(|folder| folder.watch) else { return };
        let Ok((watch, is_there)) = self.place(path) else { return };
        if watch != before {
            self.leave(before, path);
            self.relying.entry(watch).or_default().insert(path.to_owned());
        }
        if let Some(folder) = self.folders.get_mut(path) {
            (folder.watch, folder.is_there) = (watch, is_there);
        }
    }

    fn happened(&mut self, watch: i32, what: ReadFlags, name: Option<&OsStr>, changed: &mut BTreeSet<Key>) {
        let is_over = what.intersects(ReadFlags::IGNORED | ReadFlags::MOVE_SELF);
        for path in self.relying.get(&watch).cloned().unwrap_or_default() {
            let Some(folder) = self.folders.get(&path) else { continue };
            if folder.is_there && !is_over {
                changed.extend(folder.files.iter().filter(|key| self.is_changed(key, &path, what, name)).cloned());
                continue;
            }
            // The folder was moved or deleted, or something above it has come.
            self.leave(watch, &path);
            match self.place(&path) {
                Ok((watch, is_there)) => {
                    self.relying.entry(watch).or_default().insert(path.clone());
                    let Some(folder) = self.folders.get_mut(&path) else { continue };
                    (folder.watch, folder.is_there) = (watch, is_there);
                    if is_there {
                        changed.extend(folder.files.iter().filter(|key| key.1.path.exists()).cloned());
                    }
                }
                Err(error) => {
                    tracing::warn!(folder = %path.display(), %error, "changes in this folder are not noticed any longer");
                    self.folders.remove(&path);
                }
            }
        }
    }

    /// Whether what happened to `name` in `folder` makes another file of this one.
    fn is_changed(&self, key: &Key, folder: &Path, what: ReadFlags, name: Option<&OsStr>) -> bool {
        let file = &key.1.path;
        let is_made = what.contains(ReadFlags::CREATE);
        if parent(file) == folder && file.file_name() == name {
            // To be written yet, unless it is a link.
            return !is_made || file.is_symlink();
        }
        let (before, now) = (self.places.get(key).and_then(Option::as_ref), place(key));
        now.is_some_and(|now| before != Some(&now)) && (before.is_some() || !is_made)
    }

    /// Watches a folder, or the nearest above it that is there. Whether it is the folder itself.
    fn place(&mut self, folder: &Path) -> Result<(i32, bool), Errno> {
        if self.kernel.is_none() {
            let kernel = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            let kernel = Receiver::from_owned_fd_unchecked(kernel);
            self.kernel = Some(kernel.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?);
        }
        let Some(kernel) = &self.kernel else { return Err(Errno::BADF) };
        loop {
            let (mut nearest, mut below) = (folder, folder);
            let watch = loop {
                match inotify::add_watch(kernel, nearest, NEWS) {
                    Ok(watch) => break watch,
                    Err(Errno::NOENT | Errno::NOTDIR) => {}
                    Err(error) => return Err(error),
                }
                let above = parent(nearest);
                if above == nearest {
                    return Err(Errno::NOENT);
                }
                (nearest, below) = (above, nearest);
            };
            // It, or one on the way to it, may have come before the one above was watched.
            if nearest == folder || !below.is_dir() {
                return Ok((watch, nearest == folder));
            }
        }
    }

    /// A folder does not rely on a watch any longer; nobody may.
    fn leave(&mut self, watch: i32, path: &Path) {
        let Some(relying) = self.relying.get_mut(&watch) else { return };
        relying.remove(path);
        if relying.is_empty() {
            self.relying.remove(&watch);
            if let Some(kernel) = &self.kernel {
                // One that ended with its folder is not there.
                let _ = inotify::remove_watch(kernel, watch);
            }
        }
    }
}

/// `struct inotify_event`: four numbers of 32 bits (the third is of no use here), and a name filled up with zeros.
fn read(mut bytes: &[u8], events: &mut Vec<Event>) {
    while let Some((head, rest)) = bytes.split_first_chunk::<16>() {
        let number = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        // The kernel gives no event in parts.
        let (name, rest) = rest.split_at((number(12) as usize).min(rest.len()));
        let name = name.split(|byte| *byte == 0).next().filter(|name| !name.is_empty());
        let (watch, what) = (number(0).cast_signed(), ReadFlags::from_bits_retain(number(4)));
        events.push(Event { watch, what, name: name.map(|name| OsStr::from_bytes(name).to_owned()) });
        bytes = rest;
    }
}

/// Where something may happen that concerns a file.
fn folders(key: &Key) -> BTreeSet<PathBuf> {
    let own = parent(&key.1.path).to_owned();
    key.1.watched.iter().cloned().chain([own]).collect()
}

/// Where a path leads.
fn place(key: &Key) -> Option<PathBuf> {
    key.1.path.canonicalize().ok()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

#[cfg(test)]
mod tests;
