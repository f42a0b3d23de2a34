//! A folder for one test's files, gone with its owner.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use anyhow::Context;

/// A new folder under the system's temporary one; removed on drop.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one.
    ///
    /// # Errors
    /// If the folder can't be made.
    pub fn new() -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);
        let name = format!("{PREFIX}{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = env::temp_dir().join(name);
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it and returns where that is.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn write(&self, name: &str, content: &str) -> anyhow::Result<PathBuf> {
        let path = self.0.join(name);
        fs::write(&path, content).with_context(|| path.display().to_string())?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left in the temporary folder at worst.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes the folders of owners that were killed.
fn sweep() {
    let entries = fs::read_dir(env::temp_dir()).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let numbers = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'));
        let dead = |pid: u32| !Path::new("/proc").join(pid.to_string()).exists();
        if numbers.is_some_and(|(pid, count)| pid.parse().is_ok_and(dead) && count.parse::<u32>().is_ok()) {
            // Another run may sweep at the same time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

const PREFIX: &str = "bowline-";
