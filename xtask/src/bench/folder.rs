//! Where a benchmark's configurations and logs are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::workspace;

/// Gone with the benchmark, kept in the target directory while it runs.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn make() -> Result<Self> {
        let path = workspace::target().join(format!("bench-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
