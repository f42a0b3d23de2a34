//! cgroup v2: where it is mounted, and the number by which the kernel knows a group.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::model::mount;
use crate::model::workload::cgroup_folder;

/// Why there is no cgroup to work with.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No mount of the type.
    #[error("cgroup v2 is not mounted; mount it with: mount -t cgroup2 none /sys/fs/cgroup/unified")]
    NotMounted,
    /// The mount table or the mount itself can't be read.
    #[error("cannot read {path}", path = path.display())]
    Unreadable {
        /// What was read.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The mounted hierarchy. On a host that still has cgroup v1 it is not `/sys/fs/cgroup`.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    mount: PathBuf,
}

impl Cgroups {
    pub(crate) fn find() -> Result<Self, CgroupError> {
        let path = Path::new("/proc/self/mounts");
        let mounts =
            fs::read_to_string(path).map_err(|source| CgroupError::Unreadable { path: path.to_owned(), source })?;
        mount::cgroup2(&mounts).map(|mount| Self { mount }).ok_or(CgroupError::NotMounted)
    }

    pub(crate) fn mount(&self) -> &Path {
        &self.mount
    }

    /// The root, to attach to.
    pub(crate) fn open(&self) -> Result<File, CgroupError> {
        File::open(&self.mount).map_err(|source| CgroupError::Unreadable { path: self.mount.clone(), source })
    }

    /// Removes the cgroup of this id if an agent made it for itself, and nobody is in it any more.
    pub(crate) fn remove_agents_own(&self, wanted: u64) {
        let mut folders = vec![self.mount.clone()];
        while let Some(folder) = folders.pop() {
            for child in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if !child.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                let named = child.file_name().to_string_lossy().starts_with(AGENTS_OWN);
                if named && id(&child.path()).is_ok_and(|id| id == wanted) {
                    // Fails if somebody moved in.
                    let _ = fs::remove_dir(child.path());
                    return;
                }
                folders.push(child.path());
            }
        }
    }

    /// The folder of a group given relative to the mount or absolute.
    pub(crate) fn folder(&self, path: &Path) -> PathBuf {
        cgroup_folder(&self.mount, path)
    }
}

/// What the name of a cgroup begins with that an agent made for itself.
pub(crate) const AGENTS_OWN: &str = "bowline-agent.";

/// The kernel's id of a group is the inode number of its folder (64-bit kernels from 5.5 on).
pub(crate) fn id(folder: &Path) -> io::Result<u64> {
    fs::metadata(folder).map(|metadata| metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_named_relative_or_absolute() {
        let cgroups = Cgroups { mount: PathBuf::from("/sys/fs/cgroup/unified") };
        let expected = PathBuf::from("/sys/fs/cgroup/unified/mesh/a");
        for path in ["mesh/a", "/mesh/a", "/sys/fs/cgroup/unified/mesh/a"] {
            assert_eq!(cgroups.folder(Path::new(path)), expected);
        }
    }
}
