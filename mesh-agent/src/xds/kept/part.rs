//! One file of the journal, and the index that says what counts in which file.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::resource::ResourceKind;
use crate::xds::kept::journal::JournalError;
use crate::xds::kept::record::{self, MAGIC, Next, Record};

/// A name of a kind.
pub(super) type Key = (ResourceKind, Arc<str>);

/// What is opened is the file itself, and none that somebody has put in its place by a link.
pub(super) const NO_LINK: i32 = libc::O_NOFOLLOW;

/// Where the first record of a file stands.
pub(super) const FIRST: u64 = MAGIC.len() as u64;

/// A file of records.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) number: u32,
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// Up to here it is sound.
    pub(super) length: u64,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) number: u32,
    pub(super) at: u64,
    pub(super) size: u64,
    /// It was there before this agent, and nothing was heard of it since.
    pub(super) is_old: bool,
}

/// Of when a journal is.
#[derive(Clone, Debug, Default)]
pub(super) struct Latest {
    /// Who sent what is in it.
    pub(super) server: String,
    /// When something was written last, in milliseconds since 1970.
    pub(super) millis: u64,
}

/// What counts.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) places: HashMap<Key, Place>,
    /// Bytes of records that count.
    pub(super) live: u64,
    pub(super) latest: Latest,
}

impl Index {
    /// What a record means.
    pub(super) fn note(&mut self, record: &Record, place: Place) {
        let before = match record {
            Record::Put { kind, name, .. } => {
                self.live += place.size;
                self.places.insert((*kind, Arc::clone(name)), place)
            }
            Record::Remove { kind, name } => self.places.remove(&(*kind, Arc::clone(name))),
            Record::Server(name) => {
                self.latest.server.clone_from(name);
                None
            }
        };
        self.live -= before.map_or(0, |before| before.size);
    }
}

impl Part {
    /// A new file, for its owner alone.
    pub(super) fn create(folder: &Path, number: u32) -> Result<Self, JournalError> {
        let path = path(folder, number);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600).custom_flags(NO_LINK);
        let file = options.open(&path);
        let file = file.and_then(|file| file.write_all_at(MAGIC, 0).map(|()| file));
        let file = file.map_err(|error| JournalError::Io(path.clone(), error))?;
        Ok(Self { number, path, file, length: FIRST })
    }

    /// Reads a whole file into an index. The last one of a journal may end in the middle of a record, which is cut off.
    pub(super) fn open(folder: &Path, number: u32, is_last: bool, index: &mut Index) -> Result<Self, JournalError> {
        let path = path(folder, number);
        let failed = |error| JournalError::Io(path.clone(), error);
        let damaged = |at, what| JournalError::Damaged { path: path.clone(), at, what };
        let mut options = OpenOptions::new();
        let file = options.read(true).write(is_last).custom_flags(NO_LINK).open(&path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut reader = BufReader::new(file);
        let mut at = FIRST;
        let mut is_torn = length < FIRST;
        if !is_torn {
            let mut magic = [0; MAGIC.len()];
            reader.read_exact(&mut magic).map_err(failed)?;
            if magic != *MAGIC {
                return Err(damaged(0, "it begins with something else"));
            }
        }
        while !is_torn {
            match record::next(&mut reader, length - at).map_err(failed)? {
                Next::Record(record, millis, size) => {
                    index.note(&record, Place { number, at, size, is_old: true });
                    index.latest.millis = index.latest.millis.max(millis);
                    at += size;
                }
                Next::End => break,
                Next::Torn => is_torn = true,
                Next::Damaged(what) => return Err(damaged(at, what)),
            }
        }
        let file = reader.into_inner();
        if is_torn {
            if !is_last {
                return Err(damaged(at, "it ends in the middle of a record"));
            }
            tracing::warn!(file = %path.display(), at, length, "the last record that was kept is not whole, and cut off");
            file.set_len(at.min(length)).map_err(failed)?;
            if length < FIRST {
                file.write_all_at(MAGIC, 0).map_err(failed)?;
            }
        }
        Ok(Self { number, path, file, length: at })
    }

    /// The record at a place, when it was written, and how many bytes it takes.
    pub(super) fn read(&self, at: u64) -> Result<(Record, u64, u64), JournalError> {
        let failed = |error| JournalError::Io(self.path.clone(), error);
        let damaged = |what| JournalError::Damaged { path: self.path.clone(), at, what };
        let mut file = &self.file;
        file.seek(io::SeekFrom::Start(at)).map_err(failed)?;
        match record::next(&mut file, self.length.saturating_sub(at)).map_err(failed)? {
            Next::Record(record, millis, size) => Ok((record, millis, size)),
            Next::End | Next::Torn => Err(damaged("it ends too early")),
            Next::Damaged(what) => Err(damaged(what)),
        }
    }
}

/// The numbers of the files in a folder, in order.
pub(super) fn numbers(folder: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Moves the files of a folder aside, in place of those that were moved before.
pub(super) fn set_aside(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == ASIDE) {
            fs::remove_file(path)?;
        }
    }
    for number in numbers(folder)? {
        let path = path(folder, number);
        fs::rename(&path, path.with_extension(ASIDE))?;
    }
    Ok(())
}

fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:08}{SUFFIX}"))
}

const SUFFIX: &str = ".journal";
const ASIDE: &str = "damaged";
