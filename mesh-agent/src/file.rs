//! Configuration files: YAML or JSON with positions, to a tree that [`crate::decode`] reads, to a checked configuration.
//!
//! [`load`] is all of it, for `run` and for `validate`: it opens nothing but the file, and looks at whatever of this host the
//! configuration names. Every error is found in one run and names file, line, column and field.

mod host;
mod resources;
pub(crate) mod yaml;

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::decode::{self, ConfigError, Decoded, MAX_ERRORS, Place, Problem};
use crate::model::config::Config;

pub use resources::resources;

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 32 << 20;

/// Everything that is wrong with a configuration file. Prints one line for each error, then their number.
#[derive(Debug)]
pub struct ConfigErrors {
    file: PathBuf,
    errors: Vec<ConfigError>,
}

impl std::error::Error for ConfigErrors {}

impl ConfigErrors {
    /// The errors in the order of the file.
    #[must_use]
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }

    fn new(file: &Path, mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by_key(|error| error.place.position);
        Self { file: file.to_owned(), errors }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for ConfigError { place, problem } in &self.errors {
            // `file:line:column: path: message`, the form editors and build tools can jump to.
            match place {
                Place { position: None, path } if path.is_empty() => writeln!(f, "{file}: {problem}")?,
                Place { position: None, .. } => writeln!(f, "{file}: {place}: {problem}")?,
                Place { .. } => writeln!(f, "{file}:{place}: {problem}")?,
            }
        }
        match self.errors.len() {
            1 => write!(f, "{file}: 1 error"),
            count if count >= MAX_ERRORS => write!(f, "{file}: {count} errors, and no more are counted"),
            count => write!(f, "{file}: {count} errors"),
        }
    }
}

/// Reads and checks a configuration file.
///
/// # Errors
/// All that is wrong with it.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let text = read(path).map_err(|problem| {
        let place = Place { position: None, path: String::new() };
        ConfigErrors::new(path, vec![ConfigError { place, problem }])
    })?;
    parse(&text, host::check).map_err(|errors| ConfigErrors::new(path, errors))
}

/// Checks a configuration's text; `check_host` looks at what it names of this host.
pub(crate) fn parse(
    text: &str,
    check_host: impl FnOnce(&[decode::HostPath]) -> Vec<ConfigError>,
) -> Result<Config, Vec<ConfigError>> {
    let (root, mut errors) = yaml::parse(text);
    let Some(root) = root else { return Err(errors) };
    let Decoded { config, errors: more, host_paths } = decode::bootstrap(&root);
    errors.extend(more);
    errors.extend(check_host(&host_paths));
    match config {
        Some(config) if errors.is_empty() => Ok(config),
        _ => Err(errors),
    }
}

fn read(path: &Path) -> Result<String, Problem> {
    text(File::open(path).map_err(Problem::Unreadable)?)
}

fn text(file: File) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    // One byte more than allowed, to tell a file that is too large, or endless.
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(Problem::Unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Problem::TooMuch { what: "large", limit: format!("{} MiB", MAX_FILE_BYTES >> 20) });
    }
    String::from_utf8(bytes).map_err(|error| {
        let message = format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to());
        Problem::Unreadable(io::Error::new(io::ErrorKind::InvalidData, message))
    })
}
