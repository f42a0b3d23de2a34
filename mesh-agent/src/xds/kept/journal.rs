//! The journal: what is live, as a log of what happened to it, in files of records.
//!
//! An update costs its own bytes, whatever else there is. What is superseded is garbage. When there is more of it than of what counts, a
//! new file is begun, and each update takes some of what counts in the old one along, until nothing is left there; at no moment is
//! everything written anew. Whatever is on disk, read in order, is a state that was live once, also if its last record is torn.
//!
//! What it holds is found by an index in memory: a name, and where its record stands.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use crate::xds::kept::part::{FIRST, Index, Key, Latest, Part, Place, numbers};
use crate::xds::kept::record::{self, Next, Record};

/// See the module.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    file: Part,
    /// What is taken along to `file`, and how far that is.
    old: Option<(Part, u64)>,
    /// An old file in which nothing counts any longer is being deleted.
    going: Option<(JoinHandle<()>, PathBuf)>,
    index: Index,
    /// Records that are not on disk yet.
    pending: Vec<u8>,
    /// Of those, the bytes that are new, and not taken along.
    noted: usize,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    /// Something about the folder or a file.
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    Io(PathBuf, #[source] io::Error),
    /// It holds something else than was written.
    #[error("{} is damaged at byte {at}: {what}", path.display())]
    Damaged { path: PathBuf, at: u64, what: &'static str },
    /// It is larger than anything that is kept.
    #[error("there is more than {} MiB of it", LARGEST >> 20)]
    TooLarge,
    /// It could not be written for so long that some of it is not there.
    #[error("too much has changed while it could not be written")]
    Behind,
}

/// Garbage that is not worth a new file.
const SLACK: u64 = if cfg!(test) { 4 << 10 } else { 1 << 20 };
/// How much of the old file is looked at for each new byte, and at least.
const PACE: usize = 4;
const STEP: usize = if cfg!(test) { 1 << 10 } else { 16 << 10 };
/// Most that is kept.
const LARGEST: u64 = 256 << 20;
/// Most that waits for a disk that is full.
const MOST_PENDING: usize = 4 << 20;

impl Journal {
    /// Opens what is in a folder, or begins there.
    pub(super) fn open(folder: &Path) -> Result<Self, JournalError> {
        let numbers = numbers(folder).map_err(|error| JournalError::Io(folder.to_owned(), error))?;
        let mut index = Index::default();
        let mut parts = Vec::new();
        for number in &numbers {
            parts.push(Part::open(folder, *number, Some(number) == numbers.last(), &mut index)?);
        }
        let file = parts.pop().map_or_else(|| Part::create(folder, 1), Ok)?;
        // Whatever counts in it has been taken along, or is.
        let old = parts.pop().map(|old| (old, FIRST));
        for part in parts {
            if let Some(place) = index.places.values().find(|place| place.number == part.number) {
                return Err(JournalError::Damaged {
                    path: part.path,
                    at: place.at,
                    what: "nothing of it should count",
                });
            }
            fs::remove_file(&part.path).map_err(|error| JournalError::Io(part.path, error))?;
        }
        Ok(Self { folder: folder.to_owned(), file, old, going: None, index, pending: Vec::new(), noted: 0 })
    }

    /// Who sent what it holds, and when that was written.
    pub(super) fn latest(&self) -> &Latest {
        &self.index.latest
    }

    /// What it holds.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.index.places.keys()
    }

    /// What it holds that was there before this agent, and that nothing was heard of since.
    pub(super) fn old_keys(&self) -> impl Iterator<Item = &Key> {
        self.index.places.iter().filter(|(_, place)| place.is_old).map(|(key, _)| key)
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.index.places.contains_key(key)
    }

    pub(super) fn count(&self) -> usize {
        self.index.places.len()
    }

    /// Bytes on disk.
    pub(super) fn size(&self) -> u64 {
        self.file.length + self.old.as_ref().map_or(0, |(old, _)| old.length)
    }

    /// Version and body of what it holds by that name.
    pub(super) fn get(&self, key: &Key) -> Result<Option<(Arc<str>, Bytes)>, JournalError> {
        let Some(place) = self.index.places.get(key) else { return Ok(None) };
        let part = match &self.old {
            Some((old, _)) if old.number == place.number => old,
            _ => &self.file,
        };
        let record = match place.at.checked_sub(part.length) {
            None => Some(part.read(place.at)?.0),
            // Noted, or taken along, and not on disk yet.
            Some(ahead) => self.pending_at(ahead),
        };
        match record {
            Some(Record::Put { version, body, .. }) => Ok(Some((version, body))),
            _ => Err(JournalError::Damaged {
                path: part.path.clone(),
                at: place.at,
                what: "another record stands there",
            }),
        }
    }

    fn pending_at(&self, at: u64) -> Option<Record> {
        let mut rest = self.pending.get(usize::try_from(at).ok()?..)?;
        let left = rest.len() as u64;
        match record::next(&mut rest, left) {
            Ok(Next::Record(record, ..)) => Some(record),
            _ => None,
        }
    }

    /// What is in it by that name is what this agent has.
    pub(super) fn confirm(&mut self, key: &Key) {
        if let Some(place) = self.index.places.get_mut(key) {
            place.is_old = false;
        }
    }

    /// Notes something. It is on disk after [`Journal::flush`].
    pub(super) fn add(&mut self, record: &Record, millis: u64) {
        let before = self.pending.len();
        self.append(record, millis, false);
        self.noted += self.pending.len() - before;
        self.index.latest.millis = millis;
    }

    /// Writes what was noted. What cannot be written now is tried again the next time.
    pub(super) fn flush(&mut self) -> Result<(), JournalError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.index.live > LARGEST {
            return Err(JournalError::TooLarge);
        }
        self.write()?;
        let budget = PACE * std::mem::take(&mut self.noted) + STEP;
        self.take_along(budget as u64)
    }

    fn append(&mut self, record: &Record, millis: u64, is_old: bool) {
        let at = self.file.length + self.pending.len() as u64;
        let size = record.write(millis, &mut self.pending);
        self.index.note(record, Place { number: self.file.number, at, size, is_old });
    }

    fn write(&mut self) -> Result<(), JournalError> {
        if let Err(error) = self.file.file.write_all_at(&self.pending, self.file.length) {
            // Half of it must not stay: it could hold whole records. If this fails as well, the next attempt is made at the same place.
            let _ = self.file.file.set_len(self.file.length);
            let is_too_much = self.pending.len() > MOST_PENDING;
            return Err(if is_too_much {
                JournalError::Behind
            } else {
                JournalError::Io(self.file.path.clone(), error)
            });
        }
        self.file.length += self.pending.len() as u64;
        self.pending.clear();
        self.pending.shrink_to(STEP);
        Ok(())
    }

    /// Begins a new file if that is worth it, and takes along what counts in the old one, up to so many bytes of that.
    fn take_along(&mut self, budget: u64) -> Result<(), JournalError> {
        // As long as it is there the next one must stay: what that says to be gone would come back.
        let is_going = self.going.as_ref().is_some_and(|(going, path)| !going.is_finished() || path.exists());
        if self.old.is_none() && !is_going && self.file.length > 2 * self.index.live + SLACK {
            let next = Part::create(&self.folder, self.file.number.saturating_add(1))?;
            self.old = Some((std::mem::replace(&mut self.file, next), FIRST));
            let Latest { server, millis } = self.index.latest.clone();
            self.append(&Record::Server(server), millis, false);
        }
        let Some((old, mut at)) = self.old.take() else { return Ok(()) };
        let until = at.saturating_add(budget).min(old.length);
        let mut result = Ok(());
        while at < until {
            let (record, millis, size) = match old.read(at) {
                Ok(read) => read,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            };
            if let Record::Put { kind, name, .. } = &record
                && let Some(place) = self.index.places.get(&(*kind, Arc::clone(name)))
                && (place.number, place.at) == (old.number, at)
            {
                let is_old = place.is_old;
                self.append(&record, millis, is_old);
            }
            at += size;
        }
        if at < old.length {
            self.old = Some((old, at));
            return result;
        }
        // All of it has to be there before the old one goes.
        if let Err(error) = self.write() {
            self.old = Some((old, at));
            return Err(error);
        }
        self.let_go(old);
        Ok(())
    }

    /// Deletes a file when what was taken along is on the disk itself, and not only on its way there. On a thread of its own, since a disk
    /// may take its time. One that cannot be deleted now is deleted by the next agent.
    fn let_go(&mut self, old: Part) {
        let Ok(newer) = self.file.file.try_clone() else { return };
        let (folder, path) = (self.folder.clone(), old.path.clone());
        let delete = move || {
            if newer.sync_data().and_then(|()| File::open(folder)?.sync_all()).is_ok() {
                let _ = fs::remove_file(&old.path);
            }
        };
        let thread = thread::Builder::new().name("last-good".to_owned()).spawn(delete).ok();
        self.going = thread.map(|thread| (thread, path));
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Whoever ends has nobody to tell.
        let _ = self.flush();
        if let Some((going, _)) = self.going.take() {
            let _ = going.join();
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
