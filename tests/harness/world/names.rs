//! Names of what a world puts on the machine. They carry the owner's process id, so that what a killed run left behind is
//! told from what a running one needs.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Beginning of every name of one world: `bowl<pid>-<count>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag(String);

impl Tag {
    /// One that no world of this machine has.
    pub(super) fn next() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        Self(format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of one of its network namespaces.
    pub(super) fn netns(&self, name: &str) -> String {
        format!("{}-{name}", self.0)
    }
}

/// Whether `name` was made by a run of this program that lives no more.
pub(super) fn is_leftover(name: &str) -> bool {
    owner(name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

/// The process that made `name`, if a world did.
fn owner(name: &str) -> Option<u32> {
    let (pid, count) = name.strip_prefix(PREFIX)?.split_once('-')?;
    count.starts_with(|digit: char| digit.is_ascii_digit()).then_some(pid.parse().ok()?)
}

const PREFIX: &str = "bowl";

#[cfg(test)]
mod tests {
    use super::{Tag, is_leftover, owner};

    #[test]
    fn a_name_tells_its_owner() {
        let tag = Tag::next();
        assert_eq!(owner(tag.as_str()), Some(std::process::id()));
        assert_eq!(owner(&tag.netns("bridge")), Some(std::process::id()));
        assert!(!is_leftover(tag.as_str()), "we live");
        assert!(is_leftover("bowl4294967295-0-bridge"), "no process has that number");
        for stranger in ["bowl", "bowler-1", "bowl12", "bowl12-x", "cni-1234"] {
            assert_eq!(owner(stranger), None, "{stranger} isn't ours to sweep");
        }
    }
}
