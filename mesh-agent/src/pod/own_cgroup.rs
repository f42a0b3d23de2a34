//! A cgroup of the agent's own: what connects from there is never steered, or the agent would talk to itself.
//!
//! As a service the agent is alone in its cgroup already. Started from a shell it shares the shell's; then it moves into a
//! child of that group, and back at the end.

use std::path::{Path, PathBuf};
use std::{fs, io, process};

use tracing::warn;

use crate::kernel::cgroup::{self, AGENTS_OWN, Cgroups};

/// Why the agent has no cgroup of its own.
#[derive(Debug, thiserror::Error)]
pub enum OwnCgroupError {
    /// Something about the process can't be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The process is in no group of cgroup v2.
    #[error("this process is in no cgroup of cgroup v2")]
    NoCgroup,
    /// The group can't be made or entered.
    #[error("cannot make a cgroup for the agent at {path}", path = path.display())]
    Make {
        /// The group's folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The agent's cgroup. Dropping it moves the agent back to where it was.
#[derive(Debug)]
pub(crate) struct OwnCgroup {
    id: u64,
    moved: Option<Moved>,
}

#[derive(Debug)]
struct Moved {
    from: PathBuf,
    to: PathBuf,
}

impl OwnCgroup {
    pub(crate) fn enter(cgroups: &Cgroups) -> Result<Self, OwnCgroupError> {
        let path = Path::new("/proc/self/cgroup");
        let own = fs::read_to_string(path).map_err(read(path))?;
        let folder = cgroups.folder(Path::new(unified(&own).ok_or(OwnCgroupError::NoCgroup)?));
        remove_stale(&folder);
        if is_alone(&folder)? {
            return Ok(Self { id: cgroup::id(&folder).map_err(read(&folder))?, moved: None });
        }
        let to = folder.join(format!("{AGENTS_OWN}{}", process::id()));
        make(&to).map_err(|source| OwnCgroupError::Make { path: to.clone(), source })?;
        let id = cgroup::id(&to).map_err(read(&to))?;
        Ok(Self { id, moved: Some(Moved { from: folder, to }) })
    }

    /// Its number in the kernel.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        let Some(Moved { from, to }) = &self.moved else { return };
        if let Err(error) = fs::write(from.join(PROCS), SELF).and_then(|()| fs::remove_dir(to)) {
            warn!(%error, cgroup = %to.display(), "the agent's cgroup stays behind");
        }
    }
}

fn make(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join(PROCS), SELF).inspect_err(|_| drop(fs::remove_dir(folder)))
}

/// The root group is never the agent's alone: whatever is in no other group is in it.
fn is_alone(folder: &Path) -> Result<bool, OwnCgroupError> {
    let path = folder.join(PROCS);
    let members = fs::read_to_string(&path).map_err(read(&path))?;
    let own = process::id().to_string();
    Ok(folder.join("cgroup.type").exists() && members.lines().all(|member| member == own))
}

/// A group cannot be removed while something is in it, so what can be removed was left by an agent that was killed.
fn remove_stale(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(AGENTS_OWN) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The cgroup v2 line of `/proc/self/cgroup`.
fn unified(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

fn read(path: &Path) -> impl FnOnce(io::Error) -> OwnCgroupError {
    let path = path.to_owned();
    move |source| OwnCgroupError::Read { path, source }
}

const PROCS: &str = "cgroup.procs";
/// The kernel takes 0 for the process that writes.
const SELF: &str = "0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_line_is_found_on_hybrid_hosts() {
        assert_eq!(
            unified("8:pids:/a\n4:memory:/b\n0::/system.slice/bowline.service\n"),
            Some("/system.slice/bowline.service")
        );
        assert_eq!(unified("8:pids:/a\n"), None);
    }
}
