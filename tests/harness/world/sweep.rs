//! Taking worlds away: one's own at its end, and those of killed runs before the first of this one.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Once;
use std::{fs, io};

use crate::world::ip::Batch;
use crate::world::names::is_leftover;
use crate::world::{kill_cgroup, remove_cgroup};

/// Removes what dead runs left, the first time it is called.
pub(super) fn once(cgroup_mount: &Path) {
    static SWEPT: Once = Once::new();
    SWEPT.call_once(|| {
        leftovers(cgroup_mount).for_each(|name| end_processes(&cgroup_mount.join(name)));
        let spaces = leftovers(Path::new(NETNS)).chain(leftovers(Path::new(NETNS_ETC)));
        remove_spaces(spaces.collect::<BTreeSet<_>>().into_iter());
        let pins = names_in(Path::new(BPFFS)).filter(|name| is_leftover(&name.replace(DOT, ".")));
        pins.for_each(|name| remove_pins(&Path::new(BPFFS).join(name)));
    });
}

/// Ends a world's processes, and removes its cgroups, namespaces and `/etc/netns` folders. What is gone already is no error:
/// two runs may sweep at once, and a test may have removed a pod's namespace itself.
pub(super) fn remove(cgroup: &Path, spaces: impl Iterator<Item = String>) {
    end_processes(cgroup);
    remove_spaces(spaces);
}

fn end_processes(cgroup: &Path) {
    // All at once before any is waited for.
    kill_cgroup(cgroup);
    if let Err(error) = remove_cgroup(cgroup) {
        eprintln!("world: {error}");
    }
}

fn remove_spaces(spaces: impl Iterator<Item = String>) {
    let mut batch = Batch::host();
    for netns in spaces {
        if Path::new(NETNS).join(&netns).exists() {
            batch.line(format!("netns del {netns}"));
        }
        remove_etc(&netns);
    }
    if let Err(error) = batch.run() {
        eprintln!("world: {error}");
    }
}

/// Removes what an agent that has ended left in the kernel.
pub(super) fn remove_pins(path: &Path) {
    if let Err(error) = mesh_agent::kernel::pin::uninstall(path) {
        eprintln!("world: {error}");
    }
}

/// Writes a file that programs in the namespace see under `/etc` (`ip netns exec` mounts it there).
pub(super) fn write_etc(netns: &str, file: &str, content: &str) -> io::Result<()> {
    let folder = Path::new(NETNS_ETC).join(netns);
    // Another world may take `/etc/netns` away between the two calls, when it was the last in it.
    for _ in 0..10 {
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(file), content));
        match written {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    Err(io::Error::from(io::ErrorKind::NotFound))
}

fn remove_etc(netns: &str) {
    if fs::remove_dir_all(Path::new(NETNS_ETC).join(netns)).is_ok() {
        // Fails while there are others in it.
        let _ = fs::remove_dir(NETNS_ETC);
    }
}

fn leftovers(folder: &Path) -> impl Iterator<Item = String> + use<> {
    names_in(folder).filter(|name| is_leftover(name))
}

fn names_in(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

const NETNS: &str = "/run/netns";
const NETNS_ETC: &str = "/etc/netns";
pub(super) const BPFFS: &str = "/sys/fs/bpf";
/// What stands for a dot there.
pub(super) const DOT: &str = "_";
