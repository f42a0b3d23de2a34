//! Reads what is kept elsewhere.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::{env, io};

use crate::model::tls::{DataSource, Pem};

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

/// Reads it, as text, unless that was done before. Blocks for as long as the file system does.
///
/// # Errors
/// If it is not there, or not text, or larger than 1 MiB.
pub fn read(from: &DataSource) -> Result<Pem, SourceError> {
    let text = match from {
        DataSource::File(path) => read_file(path).map(Pem::from),
        DataSource::Environment(name) => match env::var(name) {
            Ok(text) => Ok(text.into()),
            // Not what is there: it may be a secret.
            Err(env::VarError::NotUnicode(_)) => Err(io::Error::new(io::ErrorKind::InvalidData, "not UTF-8")),
            Err(error @ env::VarError::NotPresent) => Err(io::Error::new(io::ErrorKind::NotFound, error)),
        },
        DataSource::Inline(text) | DataSource::Read(_, text) => Ok(text.clone()),
    };
    text.map_err(|source| SourceError { from: from.clone(), source })
}

fn read_file(path: &Path) -> io::Result<String> {
    // To open a pipe may wait for ever, and a device has no end. What is open is looked at, since a name may stand for something else
    // the next moment.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut text = String::new();
    file.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::other("larger than 1 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_files_of_a_bounded_size_are_read() {
        let why = |path: &str| read(&DataSource::File(path.into())).expect_err("no file").to_string();
        assert_eq!(why("/dev/zero"), "/dev/zero: not a file");
        assert_eq!(why("/"), "/: not a file");
        let large = env::temp_dir().join(format!("bowline-large-{}", std::process::id()));
        fs::write(&large, "x".repeat(1 << 20)).expect("a folder for it");
        let most = read(&DataSource::File(large.clone())).map(|text| text.as_str().len());
        fs::write(&large, "x".repeat((1 << 20) + 1)).expect("a folder for it");
        let more = read(&DataSource::File(large.clone())).map(|text| text.as_str().len());
        fs::remove_file(&large).expect("it is there");
        assert_eq!(most.expect("as large as may be"), 1 << 20);
        assert!(more.expect_err("too large").to_string().ends_with("larger than 1 MiB"));
    }
}
