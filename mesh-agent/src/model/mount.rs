//! Where file systems are mounted, read out of a table as `/proc/self/mounts` shows it. Reading the file is for whoever asks.

use std::path::PathBuf;

/// Where cgroup v2 is mounted first: not always at `/sys/fs/cgroup`, which may be a mixed hierarchy.
#[must_use]
pub fn cgroup2(mounts: &str) -> Option<PathBuf> {
    all("cgroup2", mounts).next().map(|mount| mount.path)
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// What is mounted: for a file system without a device any word that whoever mounted it chose.
    pub source: &'a str,
    pub path: PathBuf,
}

/// Each mounted file system of this type, in the order they were mounted.
pub fn all<'a>(kind: &'a str, mounts: &'a str) -> impl Iterator<Item = Mount<'a>> {
    mounts.lines().filter_map(move |line| {
        let mut fields = line.split(' ');
        let (source, path) = (fields.next()?, fields.next()?);
        (fields.next()? == kind).then(|| Mount { source, path: PathBuf::from(unescape(path)) })
    })
}

/// The kernel writes blanks in paths as octal.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found_wherever_it_is() {
        let hybrid = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(cgroup2(hybrid), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(cgroup2("none /a\\040b cgroup2 rw 0 0"), Some(PathBuf::from("/a b")));
        assert_eq!(cgroup2("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"), None);
        let of_bpf: Vec<_> = all("bpf", "bpf /a bpf rw 0 0\nnone /b tmpfs rw 0 0\nours /c bpf rw 0 0").collect();
        assert_eq!(of_bpf.len(), 2);
        assert_eq!(of_bpf[1], Mount { source: "ours", path: PathBuf::from("/c") });
    }
}
