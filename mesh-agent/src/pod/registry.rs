//! The workloads of this node as the kernel knows them: by the cookie of their namespace, or by cgroup where several share one.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::kernel::cgroup::{self, Cgroups};
use crate::kernel::plan::State;
use crate::model::flow::{Pod, PodId};
use crate::model::name::WorkloadName;
use crate::model::workload::Workload;
use crate::pod::netns::{Netns, NetnsError};

/// Why a workload can't be meshed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Its namespace.
    #[error("workload {workload}")]
    Netns {
        /// Whose.
        workload: WorkloadName,
        /// What is wrong.
        source: NetnsError,
    },
    /// Its cgroup.
    #[error("workload {workload}: there is no cgroup {path}", path = path.display())]
    NoCgroup {
        /// Whose.
        workload: WorkloadName,
        /// The folder that isn't there.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It shares its namespace, and nothing tells whose a connection is.
    #[error(
        "workload {workload} shares its network namespace with {with}; give it a cgroup, so that they can be told apart"
    )]
    NeedsCgroup {
        /// Whose.
        workload: WorkloadName,
        /// The other workload, or the host.
        with: String,
    },
    /// Two workloads with one cgroup.
    #[error("workloads {first} and {second} share cgroup {path}; they can't be told apart", path = path.display())]
    SameCgroup {
        /// One of them.
        first: WorkloadName,
        /// The other.
        second: WorkloadName,
        /// The folder.
        path: PathBuf,
    },
}

/// A workload that was found on this node.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) pod: Arc<Pod>,
    pub(crate) netns: Arc<Netns>,
    /// How the kernel knows it.
    pub(crate) key: Key,
    watched: Vec<Watched>,
}

/// How the kernel knows a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The namespace is its own.
    Netns,
    /// The namespace is shared; this is its cgroup's id.
    Cgroup(u64),
}

/// A file or folder that exists as long as its workload.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Member {
    /// Whether namespace file and cgroup are still those that were found. One of the same name that was made anew is not.
    pub(crate) fn is_there(&self) -> bool {
        self.watched.iter().all(Watched::is_there)
    }
}

/// Finds all workloads, or says what is wrong with every one that can't be meshed. Those that the kernel's maps know from an agent
/// before keep their numbers, so that what the kernel remembers of their connections stays true.
pub(crate) fn find(
    workloads: &[Workload],
    trust_domain: &str,
    home: &Arc<Netns>,
    cgroups: &Cgroups,
    known: &State,
) -> Result<Vec<Member>, Vec<RegistryError>> {
    let (found, mut errors) = split(workloads.iter().map(|workload| Found::new(workload, home, cgroups)));
    errors.extend(same_cgroups(&found));
    let mut by_netns: HashMap<u64, Vec<&WorkloadName>> = HashMap::new();
    for candidate in &found {
        by_netns.entry(candidate.netns.cookie()).or_default().push(&candidate.workload.name);
    }
    let keys: Vec<_> = found.iter().map(|candidate| candidate.key(&by_netns[&candidate.netns.cookie()])).collect();
    let (keys, unkeyed) = split(keys.into_iter());
    errors.extend(unkeyed);
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut last = known.last_pod();
    let mut number = |found: &Found<'_>, key| {
        let before = match key {
            Key::Netns => known.netns.get(&found.netns.cookie()).filter(|workload| !workload.is_by_cgroup()),
            Key::Cgroup(id) => known.cgroups.get(&id),
        };
        PodId(before.map_or_else(
            || {
                last += 1;
                last
            },
            |workload| workload.pod,
        ))
    };
    let keys: Vec<_> = found.iter().zip(keys).map(|(found, key)| (number(found, key), key)).collect();
    Ok(found.into_iter().zip(keys).map(|(found, (id, key))| found.member(id, key, trust_domain)).collect())
}

/// Finds one more workload, beside those that run. One that is missed may share its namespace when it comes: then this one's is
/// not its own from the beginning.
pub(crate) fn find_one(
    workload: &Workload,
    id: PodId,
    trust_domain: &str,
    (home, cgroups): (&Arc<Netns>, &Cgroups),
    running: &[&Member],
    missed: &[&Workload],
) -> Result<Member, RegistryError> {
    let found = Found::new(workload, home, cgroups)?;
    let name = |member: &Member| member.pod.workload.name.clone();
    let neighbours: Vec<_> = running.iter().filter(|member| member.netns.cookie() == found.netns.cookie()).collect();
    // The kernel knows this one by the namespace, which tells them apart no more.
    if let Some(alone) = neighbours.iter().find(|member| member.key == Key::Netns) {
        return Err(RegistryError::NeedsCgroup { workload: name(alone), with: workload.name.to_string() });
    }
    let to_come = missed.iter().filter(|other| found.is_home_of(other, home)).map(|other| &other.name);
    let here = neighbours.iter().map(|member| &member.pod.workload.name);
    let key = found.key(&here.chain(to_come).collect::<Vec<_>>())?;
    if let Key::Cgroup(_) = key
        && let Some(other) = neighbours.iter().find(|member| member.key == key)
        && let Some((path, _)) = &found.cgroup
    {
        let (first, second) = (name(other), workload.name.clone());
        return Err(RegistryError::SameCgroup { first, second, path: path.clone() });
    }
    Ok(found.member(id, key, trust_domain))
}

struct Found<'a> {
    workload: &'a Workload,
    netns: Arc<Netns>,
    cgroup: Option<(PathBuf, u64)>,
    watched: Vec<Watched>,
}

impl<'a> Found<'a> {
    fn new(workload: &'a Workload, home: &Arc<Netns>, cgroups: &Cgroups) -> Result<Self, RegistryError> {
        let name = || workload.name.clone();
        let mut watched = Vec::new();
        let netns = match &workload.netns {
            None => Arc::clone(home),
            Some(path) => {
                let netns =
                    Netns::open(path, home).map_err(|source| RegistryError::Netns { workload: name(), source })?;
                watched.extend(Watched::new(path));
                netns
            }
        };
        let cgroup = match &workload.cgroup {
            None => None,
            Some(path) => {
                let folder = cgroups.folder(path);
                let id = cgroup::id(&folder).map_err(|source| RegistryError::NoCgroup {
                    workload: name(),
                    path: folder.clone(),
                    source,
                })?;
                watched.extend(Watched::new(&folder));
                Some((folder, id))
            }
        };
        Ok(Self { workload, netns, cgroup, watched })
    }

    /// Whether another workload is to live in the same namespace, as far as that can be seen now.
    fn is_home_of(&self, other: &Workload, home: &Arc<Netns>) -> bool {
        let cookie = |path: &PathBuf| Netns::open(path, home).ok().map(|netns| netns.cookie());
        other.netns.as_ref().map_or(Some(home.cookie()), cookie) == Some(self.netns.cookie())
    }

    fn key(&self, in_netns: &[&WorkloadName]) -> Result<Key, RegistryError> {
        let other = in_netns.iter().find(|name| ***name != self.workload.name);
        let with = match other {
            Some(name) => name.to_string(),
            None if self.netns.is_home() => "the host".to_owned(),
            None => return Ok(Key::Netns),
        };
        match &self.cgroup {
            Some((_, id)) => Ok(Key::Cgroup(*id)),
            None => Err(RegistryError::NeedsCgroup { workload: self.workload.name.clone(), with }),
        }
    }

    fn member(self, id: PodId, key: Key, trust_domain: &str) -> Member {
        let netns = Arc::clone(&self.netns);
        let identity = self.workload.identity(trust_domain).into();
        let pod = Arc::new(Pod { id, workload: self.workload.clone(), identity, netns });
        Member { pod, netns: self.netns, key, watched: self.watched }
    }
}

impl Watched {
    fn new(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() })
    }

    fn is_there(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|now| now.dev() == self.device && now.ino() == self.inode)
    }
}

fn same_cgroups(found: &[Found<'_>]) -> Vec<RegistryError> {
    let mut owners: BTreeMap<u64, &WorkloadName> = BTreeMap::new();
    let mut errors = Vec::new();
    for candidate in found {
        let Some((path, id)) = &candidate.cgroup else { continue };
        if let Some(first) = owners.insert(*id, &candidate.workload.name) {
            errors.push(RegistryError::SameCgroup {
                first: first.clone(),
                second: candidate.workload.name.clone(),
                path: path.clone(),
            });
        }
    }
    errors
}

fn split<T, E>(results: impl Iterator<Item = Result<T, E>>) -> (Vec<T>, Vec<E>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => good.push(value),
            Err(error) => bad.push(error),
        }
    }
    (good, bad)
}
