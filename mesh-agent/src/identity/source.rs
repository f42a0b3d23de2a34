//! Reads what is kept elsewhere.

use std::{env, fs, io};

use crate::model::tls::DataSource;

/// Most that is read. A list of all public authorities has a quarter of that.
const LARGEST: u64 = 1 << 20;

/// It cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{from}: {source}")]
pub struct SourceError {
    /// Where it should be.
    pub from: DataSource,
    /// Why not.
    pub source: io::Error,
}

/// Reads it, as text. Blocks for as long as the file system does.
///
/// # Errors
/// If it is not there, or not text, or larger than 1 MiB.
pub fn read(from: &DataSource) -> Result<String, SourceError> {
    let text = match from {
        DataSource::File(path) => read_file(path),
        DataSource::Environment(name) => env::var(name).map_err(|error| io::Error::new(io::ErrorKind::NotFound, error)),
        DataSource::Inline(text) => Ok(text.as_ref().to_owned()),
    };
    text.map_err(|source| SourceError { from: from.clone(), source })
}

fn read_file(path: &std::path::Path) -> io::Result<String> {
    // A device or a pipe has no size and may have no end.
    let size = fs::metadata(path)?.len();
    if size > LARGEST {
        return Err(io::Error::other("larger than 1 MiB"));
    }
    fs::read_to_string(path)
}
