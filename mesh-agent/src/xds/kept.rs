//! What a management server sent last and was good, kept on disk: an agent that starts while no server answers serves with it.
//!
//! Written by the client's thread when a response has been answered; nothing on the way of the data waits for it. To keep is a precaution:
//! whatever is wrong with the disk is told, and the agent goes on without ([why so](../../docs/decisions/0021-last-good-on-disk.md)).
//! Whatever holds a private key is left out.

mod journal;
mod part;
mod record;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use memchr::memmem;
use rustix::fs::{FlockOperation, flock};

use crate::model::management::LastGood;
use crate::model::resource::ResourceKind;
use crate::xds::session::{Incoming, Name};
use journal::{Journal, JournalError};
use record::Record;

/// See the module.
#[derive(Debug)]
pub(super) struct Keeper {
    folder: PathBuf,
    /// `None`: it cannot be kept any longer.
    journal: Option<Journal>,
    /// Held as long as this agent keeps something there.
    _lock: Option<File>,
    /// What is wrong now.
    failure: Option<String>,
    /// When what was kept before this agent, and was not heard of since, is forgotten.
    sweep: Option<Instant>,
}

/// Why nothing can be kept in a folder.
#[derive(Debug, thiserror::Error)]
enum FolderError {
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    Io(PathBuf, #[source] io::Error),
    #[error("{}: others may write there", .0.display())]
    Open(PathBuf),
    #[error("{path}: it belongs to user {owner}, and this agent is {us}", path = .0.display(), owner = .1, us = .2)]
    Foreign(PathBuf, u32, u32),
    #[error("{}: another agent keeps its own there", .0.display())]
    Taken(PathBuf),
}

impl Keeper {
    /// Opens what is kept in `folder`, or begins there.
    pub(super) fn open(folder: &Path) -> Self {
        let mut keeper = Self { folder: folder.to_owned(), journal: None, _lock: None, failure: None, sweep: None };
        match claim(folder) {
            Ok(lock) => keeper._lock = Some(lock),
            Err(error) => {
                keeper.fail(&error.to_string());
                return keeper;
            }
        }
        let opened = Journal::open(folder).or_else(|error| match error {
            JournalError::Damaged { .. } => {
                tracing::error!(%error, "what was kept is set aside, and not used");
                part::set_aside(folder).map_err(|error| JournalError::Io(folder.to_owned(), error))?;
                Journal::open(folder)
            }
            other => Err(other),
        });
        match opened {
            Ok(journal) => keeper.journal = Some(journal),
            Err(error) => keeper.fail(&error.to_string()),
        }
        keeper
    }

    /// How it stands.
    pub(super) fn standing(&self) -> LastGood {
        let journal = self.journal.as_ref();
        LastGood {
            resources: journal.map_or(0, Journal::count),
            bytes: journal.map_or(0, Journal::size),
            failure: self.failure.clone(),
            serving: None,
        }
    }

    /// Whether there is anything.
    pub(super) fn is_empty(&self) -> bool {
        self.journal.as_ref().is_none_or(|journal| journal.count() == 0)
    }

    /// Of when it is, and who sent it.
    pub(super) fn origin(&self) -> (SystemTime, String) {
        let latest = self.journal.as_ref().map(|journal| journal.latest().clone()).unwrap_or_default();
        (SystemTime::UNIX_EPOCH + Duration::from_millis(latest.millis), latest.server)
    }

    /// What there is of a kind that `is_wanted`. Nothing if any of it is damaged: parts of a configuration are none.
    pub(super) fn read(&mut self, kind: ResourceKind, is_wanted: impl Fn(&Name) -> bool) -> Vec<Incoming> {
        let Some(journal) = &self.journal else { return Vec::new() };
        let names = journal.keys().filter(|(other, name)| *other == kind && is_wanted(name));
        let mut names: Vec<_> = names.cloned().collect();
        names.sort_unstable();
        let one = |key: &part::Key| {
            let incoming = |(version, body)| Incoming { name: Arc::clone(&key.1), version, body };
            journal.get(key).map(|found| found.map(incoming))
        };
        match names.iter().map(one).collect::<Result<Vec<_>, _>>() {
            Ok(found) => found.into_iter().flatten().collect(),
            Err(error) => {
                self.stop(&error);
                Vec::new()
            }
        }
    }

    /// What is kept by that name is live.
    pub(super) fn confirm(&mut self, kind: ResourceKind, name: &Name) {
        if let Some(journal) = &mut self.journal {
            journal.confirm(&(kind, Arc::clone(name)));
        }
    }

    /// What follows comes from that server. What was not heard of after so long is not there any longer.
    pub(super) fn answers(&mut self, server: &str, settle: Duration) {
        if self.journal.as_ref().is_some_and(|journal| journal.old_keys().next().is_some()) {
            self.sweep = self.sweep.or_else(|| Instant::now().checked_add(settle));
        }
        if self.journal.as_ref().is_some_and(|journal| journal.latest().server != server) {
            self.add(&Record::Server(server.to_owned()));
        }
    }

    /// A resource is live.
    pub(super) fn put(&mut self, kind: ResourceKind, Incoming { name, version, body }: Incoming) {
        if holds_a_secret(kind, &body) {
            // What was kept of it is not the last there was.
            self.remove(kind, &name);
        } else {
            self.add(&Record::Put { kind, name, version, body });
        }
    }

    /// It is no more.
    pub(super) fn remove(&mut self, kind: ResourceKind, name: &Name) {
        let key = (kind, Arc::clone(name));
        if self.journal.as_ref().is_some_and(|journal| journal.has(&key)) {
            self.add(&Record::Remove { kind, name: key.1 });
        }
    }

    /// Forgets what was there before this agent and is not known to be live: of a kind of which the server has sent all there is, or
    /// of every kind, when it has had its time. But for what `stays`.
    pub(super) fn forget_old(&mut self, kind: Option<ResourceKind>, stays: impl Fn(&Name) -> bool) {
        let Some(journal) = &self.journal else { return };
        let is_gone = |(other, name): &&part::Key| kind.is_none_or(|kind| kind == *other) && !stays(name);
        let old: Vec<_> = journal.old_keys().filter(is_gone).cloned().collect();
        for (kind, name) in old {
            self.add(&Record::Remove { kind, name });
        }
    }

    /// When [`Keeper::flush`] has something to do at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.sweep
    }

    /// Writes what is new. To be called when who sent it has been answered.
    pub(super) fn flush(&mut self) {
        if self.sweep.is_some_and(|sweep| sweep <= Instant::now()) {
            self.sweep = None;
            self.forget_old(None, |_| false);
        }
        let Some(journal) = &mut self.journal else { return };
        match journal.flush() {
            Ok(()) => {
                if self.failure.take().is_some() {
                    tracing::info!(folder = %self.folder.display(), "what is good is kept again");
                }
            }
            Err(error @ JournalError::Io(..)) => self.fail(&error.to_string()),
            Err(error) => self.stop(&error),
        }
    }

    fn add(&mut self, record: &Record) {
        let Some(journal) = &mut self.journal else { return };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        journal.add(record, u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    }

    /// It cannot go on. What is on disk is of an earlier moment, and good.
    fn stop(&mut self, error: &JournalError) {
        self.journal = None;
        if let JournalError::Damaged { .. } = error
            && let Err(error) = part::set_aside(&self.folder)
        {
            tracing::error!(%error, "what was kept cannot be set aside");
        }
        self.fail(&format!("{error}; nothing more is kept by this agent"));
    }

    fn fail(&mut self, why: &str) {
        if self.failure.as_deref() != Some(why) {
            tracing::warn!(folder = %self.folder.display(), %why, "what is good cannot be kept; the agent goes on without");
            self.failure = Some(why.to_owned());
        }
    }
}

/// Whether a resource must not be on disk. Keys may stand in more than secrets: in a cluster, for one. Only those in PEM are ever
/// accepted, so that is looked for in the bytes, wherever it stands in them.
fn holds_a_secret(kind: ResourceKind, body: &[u8]) -> bool {
    kind == ResourceKind::Secret || memmem::find(body, b"PRIVATE KEY-----").is_some()
}

/// Makes the folder, if it is not there, and sees to it that it is this agent's.
fn claim(folder: &Path) -> Result<File, FolderError> {
    let failed = |error| FolderError::Io(folder.to_owned(), error);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    // Whoever can write there says what the agent does.
    let metadata = fs::metadata(folder).map_err(failed)?;
    let us = rustix::process::geteuid().as_raw();
    if metadata.uid() != us {
        return Err(FolderError::Foreign(folder.to_owned(), metadata.uid(), us));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(FolderError::Open(folder.to_owned()));
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(part::NO_LINK);
    let path = folder.join("lock");
    let lock = options.open(&path).map_err(|error| FolderError::Io(path, error))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| FolderError::Taken(folder.to_owned()))?;
    Ok(lock)
}
