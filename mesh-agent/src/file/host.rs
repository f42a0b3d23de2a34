//! Whether what the configuration names of this host is there: the one check that does I/O.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::decode::{ConfigError, HostPath, HostPathKind, Problem};
use crate::model::mount;
use crate::model::workload::cgroup_folder;

/// What is wrong with `paths` on this host.
pub(super) fn check(paths: &[HostPath]) -> Vec<ConfigError> {
    let mount = fs::read_to_string("/proc/self/mounts").ok().and_then(|mounts| mount::cgroup2(&mounts));
    let problem = |path: &HostPath| match path.kind {
        HostPathKind::Netns => netns(&path.path),
        HostPathKind::Cgroup => cgroup(&path.path, mount.as_deref()),
    };
    let error = |path: &HostPath| {
        let place = path.place.clone();
        problem(path).err().map(|problem| ConfigError { place, problem })
    };
    paths.iter().filter_map(error).collect()
}

fn netns(path: &Path) -> Result<(), Problem> {
    let what = "network namespace";
    let there = metadata(what, path)?;
    // All namespaces live on one file system, the agent's own among them.
    let own = metadata(what, Path::new("/proc/self/ns/net"))?;
    if there.dev() == own.dev() { Ok(()) } else { Err(Problem::HostKind { what, path: path.to_owned() }) }
}

fn cgroup(path: &Path, mount: Option<&Path>) -> Result<(), Problem> {
    let what = "cgroup";
    let Some(mount) = mount else {
        let source = io::Error::new(io::ErrorKind::NotFound, "no cgroup2 file system is mounted");
        return Err(Problem::Host { what, path: path.to_owned(), source });
    };
    let full = cgroup_folder(mount, path);
    let there = metadata(what, &full)?;
    let is_cgroup = there.is_dir() && there.dev() == metadata(what, mount)?.dev();
    if is_cgroup { Ok(()) } else { Err(Problem::HostKind { what, path: full }) }
}

fn metadata(what: &'static str, path: &Path) -> Result<fs::Metadata, Problem> {
    fs::metadata(path).map_err(|source| Problem::Host { what, path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{cgroup, netns};

    #[test]
    fn what_is_not_there_or_is_something_else_is_said() {
        assert!(netns(Path::new("/proc/self/ns/net")).is_ok());
        let message = |result: Result<(), super::Problem>| result.expect_err("must fail").to_string();
        assert_eq!(message(netns(Path::new("/etc/hostname"))), "/etc/hostname is not a network namespace");
        assert_eq!(
            message(netns(Path::new("/run/netns/none"))),
            "network namespace /run/netns/none: No such file or directory (os error 2)"
        );
        assert_eq!(message(cgroup(Path::new("a"), None)), "cgroup a: no cgroup2 file system is mounted");
        assert_eq!(
            message(cgroup(Path::new("/no/such"), Some(Path::new("/proc")))),
            "cgroup /proc/no/such: No such file or directory (os error 2)"
        );
        assert_eq!(message(cgroup(Path::new("/version"), Some(Path::new("/proc")))), "/proc/version is not a cgroup");
    }

    #[test]
    fn a_cgroup_is_named_relative_absolute_or_as_the_kernel_does() {
        for path in ["sys/kernel", "/sys/kernel", "/proc/sys/kernel"] {
            assert!(cgroup(Path::new(path), Some(Path::new("/proc"))).is_ok(), "{path}");
        }
    }
}
