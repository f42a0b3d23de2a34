//! The journal beside a plain map: whatever happens to both, and whenever the agent ends, both hold the same.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Journal, JournalError, SLACK};
use crate::model::resource::ResourceKind;
use crate::xds::kept::part::set_aside;
use crate::xds::kept::record::Record;

/// A folder that goes with its test.
pub(in crate::xds::kept) struct Folder(pub(in crate::xds::kept) PathBuf);

impl Folder {
    pub(in crate::xds::kept) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("bowline-kept-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// As it would be found if the agent were killed now.
    fn copy(&self) -> Self {
        let copy = Self::new();
        for name in files(&self.0) {
            match fs::copy(self.0.join(&name), copy.0.join(&name)) {
                // Nothing in it counted any longer, and the thread that deletes it was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                copied => drop(copied.unwrap()),
            }
        }
        copy
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

type State = BTreeMap<String, Vec<u8>>;

const KIND: ResourceKind = ResourceKind::Cluster;

fn put(name: &str, body: &[u8]) -> Record {
    Record::Put { kind: KIND, name: name.into(), version: "1".into(), body: body.to_vec().into() }
}

fn remove(name: &str) -> Record {
    Record::Remove { kind: KIND, name: name.into() }
}

fn state(journal: &Journal) -> State {
    let body = |name: &str| journal.get(&(KIND, name.into())).unwrap().unwrap().1.to_vec();
    journal.keys().map(|(_, name)| (name.to_string(), body(name))).collect()
}

#[test]
fn what_is_kept_is_there_again_after_any_end() {
    let folder = Folder::new();
    let mut journal = Journal::open(&folder.0).unwrap();
    let (mut model, mut random) = (State::new(), 1u64);
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let (mut most_files, mut begun) = (0, 0);
    for turn in 0..6000 {
        let name = format!("n{}", next(40));
        if next(5) == 0 {
            journal.add(&remove(&name), turn);
            model.remove(&name);
        } else {
            let length = usize::try_from(next(700)).unwrap();
            let body = vec![u8::try_from(next(256)).unwrap(); length];
            journal.add(&put(&name, &body), turn);
            model.insert(name, body);
        }
        journal.flush().unwrap();
        most_files = most_files.max(files(&folder.0).len());
        begun += u32::from(journal.old.is_some());
        assert!(journal.size() < 6 * journal.index.live + 8 * SLACK, "{} of {}", journal.size(), journal.index.live);
        match next(60) {
            // Killed.
            0 => {
                let copy = folder.copy();
                assert_eq!(state(&Journal::open(&copy.0).unwrap()), model, "turn {turn}");
            }
            // Ended in order.
            1 => {
                drop(journal);
                journal = Journal::open(&folder.0).unwrap();
                assert_eq!((state(&journal), journal.latest().millis), (model.clone(), turn));
            }
            _ => {}
        }
    }
    assert!(begun > 100 && most_files <= 3, "{begun} turns with two files, {most_files} at most");
}

#[test]
fn an_update_costs_the_same_with_much_else() {
    // Bytes that are looked at and written for an update, whatever there is.
    let mut costs = Vec::new();
    for others in [10, 2000] {
        let folder = Folder::new();
        let mut journal = Journal::open(&folder.0).unwrap();
        for other in 0..others {
            journal.add(&put(&format!("n{other}"), &[7; 100]), 0);
        }
        journal.flush().unwrap();
        let mut most = 0;
        for turn in 0..5000 {
            let before = journal.file.length;
            journal.add(&put("changes", &[1; 500]), turn);
            journal.flush().unwrap();
            // A file that is new begins anew.
            most = most.max(journal.file.length.saturating_sub(before));
        }
        costs.push(most);
    }
    let bound = (super::STEP + 10 * 600) as u64;
    assert!(costs.iter().all(|cost| *cost < bound), "{costs:?}, of {bound}");
}

#[test]
fn what_is_not_on_disk_yet_is_read_as_well() {
    let folder = Folder::new();
    let mut journal = Journal::open(&folder.0).unwrap();
    for other in 0..200 {
        journal.add(&put(&format!("n{other}"), &[other; 100]), 0);
    }
    journal.flush().unwrap();
    // Until some are being taken along.
    while journal.old.is_none() {
        journal.add(&put("changes", &[1; 500]), 0);
        journal.flush().unwrap();
    }
    journal.add(&remove("n0"), 0);
    journal.flush().unwrap();
    assert!(!journal.pending.is_empty(), "it waits for the next update");
    for other in 1..200 {
        let name = format!("n{other}");
        assert_eq!(journal.get(&(KIND, name.as_str().into())).unwrap().unwrap().1, vec![other; 100], "{name}");
    }
}

/// A small journal, and the states it has been in.
fn small() -> (Folder, Vec<State>) {
    let folder = Folder::new();
    let mut journal = Journal::open(&folder.0).unwrap();
    let mut states = vec![state(&journal)];
    let records =
        [Record::Server("s".into()), put("a", b"1"), put("b", b"2"), remove("a"), put("b", b"3"), put("c", b"")];
    for record in records {
        journal.add(&record, 9);
        journal.flush().unwrap();
        states.push(state(&journal));
    }
    (folder, states)
}

#[test]
fn a_torn_end_is_cut_off_and_the_rest_counts() {
    let (folder, states) = small();
    let path = folder.0.join(&files(&folder.0)[0]);
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        for filling in [0, 40] {
            let mut torn = whole[..length].to_vec();
            // What a file system makes of a length that came to the disk and content that did not.
            torn.resize(length + filling, 0);
            fs::write(&path, &torn).unwrap();
            let mut journal = match Journal::open(&folder.0) {
                Ok(journal) => journal,
                // Zeros may be what a head or a text says.
                Err(JournalError::Damaged { .. }) if filling > 0 => continue,
                Err(error) => panic!("{length}: {error}"),
            };
            assert!(states.contains(&state(&journal)), "{length}");
            // And it goes on from there.
            journal.add(&put("z", b"z"), 10);
            let expected = state_after_flush(&mut journal);
            drop(journal);
            assert_eq!(state(&Journal::open(&folder.0).unwrap()), expected, "{length}");
        }
    }
}

fn state_after_flush(journal: &mut Journal) -> State {
    journal.flush().unwrap();
    state(journal)
}

#[test]
fn a_damaged_byte_is_found_or_cuts_off_the_end_and_never_makes_another_state() {
    let (folder, states) = small();
    let path = folder.0.join(&files(&folder.0)[0]);
    let whole = fs::read(&path).unwrap();
    let mut damaged_files = 0;
    for at in 0..whole.len() {
        for bit in [0x01, 0x80] {
            let mut damaged = whole.clone();
            damaged[at] ^= bit;
            fs::write(&path, &damaged).unwrap();
            match Journal::open(&folder.0) {
                Ok(journal) => assert!(states.contains(&state(&journal)), "{at}"),
                Err(JournalError::Damaged { path: named, .. }) => {
                    assert_eq!(named, path);
                    damaged_files += 1;
                }
                Err(error) => panic!("{at}: {error}"),
            }
        }
    }
    assert!(damaged_files > whole.len(), "only the last record may be torn: {damaged_files}");
    // It is set aside, in place of the one before.
    for turn in 0..2 {
        fs::write(&path, [turn]).unwrap();
        set_aside(&folder.0).unwrap();
        assert_eq!((files(&folder.0).len(), fs::read(path.with_extension("damaged")).unwrap()), (1, vec![turn]));
    }
}

#[test]
fn what_cannot_be_written_now_is_written_later_but_not_without_end() {
    let folder = Folder::new();
    let mut journal = Journal::open(&folder.0).unwrap();
    journal.add(&put("a", b"1"), 1);
    journal.flush().unwrap();
    // As if the disk were full.
    let file = std::mem::replace(&mut journal.file.file, File::open("/dev/null").unwrap());
    journal.add(&put("a", b"2"), 2);
    journal.add(&put("b", b"1"), 2);
    assert!(matches!(journal.flush(), Err(JournalError::Io(..))));
    assert!(matches!(journal.flush(), Err(JournalError::Io(..))));
    journal.file.file = file;
    journal.add(&remove("b"), 3);
    journal.flush().unwrap();
    assert_eq!(state(&Journal::open(&folder.copy().0).unwrap()), State::from([("a".into(), b"2".to_vec())]));
    journal.file.file = File::open("/dev/null").unwrap();
    journal.add(&put("c", &vec![0; 5 << 20]), 4);
    assert!(matches!(journal.flush(), Err(JournalError::Behind)));
    drop(journal);
    assert_eq!(state(&Journal::open(&folder.0).unwrap()), State::from([("a".into(), b"2".to_vec())]));
}

#[test]
fn files_are_for_their_owner_alone() {
    let (folder, _) = small();
    for name in files(&folder.0) {
        assert_eq!(fs::metadata(folder.0.join(name)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
