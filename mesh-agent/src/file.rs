//! Configuration files: YAML or JSON with positions, to a tree that [`crate::decode`] reads.

use std::path::{Path, PathBuf};

use crate::model::config::Config;

/// Everything that is wrong with a configuration file.
#[derive(Debug, thiserror::Error)]
#[error("{file}: configuration files are not read yet")]
pub struct ConfigErrors {
    file: PathBuf,
}

/// Reads and checks a configuration file.
///
/// # Errors
/// All that is wrong with it.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    Err(ConfigErrors { file: path.to_owned() })
}
