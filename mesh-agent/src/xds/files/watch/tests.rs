//! Folders that are exchanged while they are watched.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Watcher;
use crate::model::management::FileSource;
use crate::model::resource::ResourceKind;
use crate::xds::files::Key;

/// A folder that goes with its test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bowline-watch-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn key(path: PathBuf, watched: Option<&Path>) -> Key {
    (ResourceKind::Cluster, Arc::new(FileSource { path, watched: watched.map(Path::to_owned) }))
}

/// Replaces a file as it should be done.
fn replace(path: &Path) {
    let new = path.with_extension("new");
    fs::write(&new, "x").unwrap();
    fs::rename(new, path).unwrap();
}

async fn is_told(watcher: &mut Watcher, key: &Key) -> bool {
    let told = tokio::time::timeout(Duration::from_secs(10), async { while !watcher.changed().await.contains(key) {} });
    told.await.is_ok()
}

#[tokio::test]
async fn the_folder_that_a_link_leads_to_now_is_the_one_that_is_watched() {
    let folder = Folder::new("link");
    for version in ["a", "b"] {
        fs::create_dir(folder.0.join(version)).unwrap();
        fs::write(folder.0.join(version).join("cds.yaml"), version).unwrap();
    }
    symlink("a", folder.0.join("current")).unwrap();
    let key = key(folder.0.join("current/cds.yaml"), Some(&folder.0));
    let mut watcher = Watcher::default();
    watcher.watch(&key).unwrap();
    symlink("b", folder.0.join("next")).unwrap();
    fs::rename(folder.0.join("next"), folder.0.join("current")).unwrap();
    assert!(is_told(&mut watcher, &key).await, "another folder");
    replace(&folder.0.join("b/cds.yaml"));
    assert!(is_told(&mut watcher, &key).await, "another file in it");
}

#[tokio::test]
async fn folders_that_come_all_at_once_are_not_missed() {
    let folder = Folder::new("deep");
    for round in 0..50 {
        let top = folder.0.join(round.to_string());
        let key = key(top.join("b/c/cds.yaml"), None);
        let mut watcher = Watcher::default();
        let made = std::thread::spawn({
            let path = key.1.path.clone();
            move || {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                replace(&path);
            }
        });
        watcher.watch(&key).unwrap();
        // Whoever begins to watch a file looks at it then.
        let is_seen = key.1.path.exists();
        made.join().unwrap();
        assert!(is_seen || is_told(&mut watcher, &key).await, "round {round}");
    }
}
