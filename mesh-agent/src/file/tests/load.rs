//! Files as they come: not there, not text, and naming what this host does not have.

use std::fs;
use std::path::{Path, PathBuf};

use crate::file::load;

/// A file that is gone when the test is over.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("bowline-{}-{name}", std::process::id()));
        fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What is printed, with `FILE` for the path.
fn printed(path: &Path) -> String {
    load(path).unwrap_err().to_string().replace(&path.display().to_string(), "FILE")
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    assert_eq!(
        printed(Path::new("/no/such/file")),
        "FILE: can't be read: No such file or directory (os error 2)\nFILE: 1 error"
    );
    assert_eq!(printed(&std::env::temp_dir()), "FILE: can't be read: Is a directory (os error 21)\nFILE: 1 error");
    let binary = Temporary::new("binary", b"node: { id: \xff }");
    assert_eq!(printed(&binary.0), "FILE: can't be read: not UTF-8 at byte 12\nFILE: 1 error");
}

#[test]
fn what_the_host_lacks_stands_among_the_other_errors() {
    let text = "mesh: { workloads: [{ name: a, netns: /run/netns/bowline-none },\n\
                { name: b, netns: /proc/self/ns/net, color: red }] }\n";
    let file = Temporary::new("host", text.as_bytes());
    assert_eq!(
        printed(&file.0),
        "FILE:1:39: mesh.workloads[0].netns: network namespace /run/netns/bowline-none: No such file or directory (os \
         error 2)\nFILE:2:38: mesh.workloads[1].color: not supported; supported here: name, netns, cgroup, addresses, \
         mode, labels, namespace, service_account\nFILE: 2 errors"
    );
}

#[test]
fn a_good_file_is_loaded() {
    let file = Temporary::new("good", include_bytes!("../../../testdata/gateway.yaml"));
    assert_eq!(load(&file.0).unwrap().clusters.len(), 1);
}
