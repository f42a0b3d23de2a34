//! Names of what a world puts on the machine. They carry the owner's process id, so that what a killed run left behind is
//! told from what a running one needs. A process id says nothing in another container, which may share the cgroups with this
//! one: outside of the machine's own PID namespace, names carry the namespace too.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Beginning of every name of one world: `bowl<pid>-<count>`, or `bowl<pid>.<namespace>-<count>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag(String);

impl Tag {
    /// One that no world of this machine has.
    pub(super) fn next() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let owner = Owner { pid: std::process::id(), namespace: own_namespace() };
        Self(format!("{PREFIX}{owner}-{}", COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of one of its network namespaces.
    pub(super) fn netns(&self, name: &str) -> String {
        format!("{}-{name}", self.0)
    }
}

/// Whether `name` was made by a run of this program that lives no more. One of another PID namespace may live.
pub(super) fn is_leftover(name: &str) -> bool {
    owner(name).is_some_and(|owner| {
        owner.namespace == own_namespace() && !Path::new("/proc").join(owner.pid.to_string()).exists()
    })
}

/// The process that made a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    pid: u32,
    /// Inode of its PID namespace.
    namespace: u64,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace {
            MACHINE => write!(f, "{}", self.pid),
            other => write!(f, "{}.{other:x}", self.pid),
        }
    }
}

/// The process that made `name`, if a world did.
fn owner(name: &str) -> Option<Owner> {
    let (owner, count) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let (pid, namespace) = match owner.split_once('.') {
        None => (owner, MACHINE),
        Some((pid, namespace)) => (pid, u64::from_str_radix(namespace, 16).ok()?),
    };
    let pid = pid.parse().ok()?;
    count.starts_with(|digit: char| digit.is_ascii_digit()).then_some(Owner { pid, namespace })
}

fn own_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(MACHINE, |namespace| namespace.ino())
}

/// Inode of the PID namespace that a machine starts with: `PROC_PID_INIT_INO` of the kernel.
const MACHINE: u64 = 0xEFFF_FFFC;

const PREFIX: &str = "bowl";

#[cfg(test)]
mod tests {
    use super::{Owner, Tag, is_leftover, own_namespace, owner};

    #[test]
    fn a_name_tells_its_owner() {
        let tag = Tag::next();
        let us = Owner { pid: std::process::id(), namespace: own_namespace() };
        assert_eq!(owner(tag.as_str()), Some(us));
        assert_eq!(owner(&tag.netns("bridge")), Some(us));
        assert!(!is_leftover(tag.as_str()), "we live");
        let nobody = Owner { pid: u32::MAX, namespace: own_namespace() };
        assert!(is_leftover(&format!("bowl{nobody}-0-bridge")), "no process has that number");
        let elsewhere = Owner { pid: u32::MAX, namespace: 1 };
        assert_eq!(owner(&format!("bowl{elsewhere}-0")), Some(elsewhere));
        assert!(!is_leftover(&format!("bowl{elsewhere}-0")), "who knows, in another container");
        for stranger in ["bowl", "bowler-1", "bowl12", "bowl12-x", "bowl12.zz-0", "cni-1234"] {
            assert_eq!(owner(stranger), None, "{stranger} isn't ours to sweep");
        }
    }
}
