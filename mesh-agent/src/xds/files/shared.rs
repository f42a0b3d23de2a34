//! How it stands with files: written by the reader, read by the operator's interface.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::management::{FileStanding, Known, KnownResources};
use crate::xds::files::Key;
use crate::xds::files::contents::File;
use crate::xds::session::Name;

/// Shared between the reader's thread and whoever asks.
#[derive(Debug, Default)]
pub(super) struct Shared {
    files: Mutex<BTreeMap<Key, Seen>>,
}

/// What is seen of one file.
#[derive(Debug)]
struct Seen {
    standing: FileStanding,
    known: Vec<(Name, Known)>,
}

impl Shared {
    pub(super) fn tell<R: Clone + PartialEq>(&self, key: &Key, file: &File<R>) {
        let (kind, source) = key;
        let (standing, unwatched) = (file.standing.clone(), file.unwatched.clone());
        let standing = FileStanding { path: source.path.clone(), kind: *kind, standing, unwatched };
        let known = file.known().map(|(name, known)| (Name::clone(name), known)).collect();
        self.lock().insert(key.clone(), Seen { standing, known });
    }

    pub(super) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    pub(super) fn standing(&self) -> Vec<FileStanding> {
        self.lock().values().map(|seen| seen.standing.clone()).collect()
    }

    pub(super) fn known(&self) -> KnownResources {
        let mut known = KnownResources::new();
        for ((kind, _), seen) in self.lock().iter() {
            known.entry(*kind).or_default().extend(seen.known.iter().cloned());
        }
        known
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Seen>> {
        // Plain values: a panic elsewhere leaves nothing half done that would matter.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
