//! Files of resources (`path_config_source`): a discovery response of one kind, in YAML or JSON.
//!
//! Such a file is read while the agent serves, and its path may have come from a management server. So nothing is opened that could
//! keep the reader waiting, and whatever is wrong is a line of text for the log and the operator's interface.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::decode::{self, ConfigError, Problem, Refusal};
use crate::file::{text, yaml};
use crate::model::resource::{Contents, Entry, Resource, ResourceKind};

/// Most problems that are spelled out of what is wrong with a whole file.
const MOST_SHOWN: usize = 5;

/// Reads a file of resources of a kind.
///
/// # Errors
/// What is wrong with the file: then nothing in it counts.
pub fn resources(kind: ResourceKind, path: &Path) -> Result<Contents<Resource>, String> {
    let file = path.display();
    let text = open(path).and_then(text).map_err(|problem| format!("{file}: {problem}"))?;
    let lines = |errors: &[ConfigError]| {
        let shown = errors.iter().take(MOST_SHOWN).map(ToString::to_string);
        let more = errors.len().saturating_sub(MOST_SHOWN);
        let more = (more > 0).then(|| format!("and {more} more"));
        format!("{file}:{}", shown.chain(more).collect::<Vec<_>>().join("; "))
    };
    let (root, errors) = yaml::parse(&text);
    let Some(root) = root.filter(|_| errors.is_empty()) else { return Err(lines(&errors)) };
    drop(text);
    let decode::Discovered { version, resources } = decode::discovery(kind, root).map_err(|errors| lines(&errors))?;
    let resources = resources.into_iter().map(|decoded| match decoded {
        Ok(resource) => Entry { name: Some(Arc::from(resource.name())), resource: Ok(resource) },
        Err(refusal) => {
            let name = refusal.name.as_deref().map(Arc::from);
            Entry { name, resource: Err(format!("{file}:{}{refusal}", first_position(&refusal))) }
        }
    });
    Ok(Contents { version, resources: resources.collect() })
}

/// A named pipe would wait for a writer, a device may never end.
fn open(path: &Path) -> Result<File, Problem> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(Problem::Unreadable)?;
    if !file.metadata().map_err(Problem::Unreadable)?.is_file() {
        return Err(Problem::Unreadable(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    Ok(file)
}

fn first_position(refusal: &Refusal) -> String {
    let first = refusal.problems.iter().find_map(|error| error.place.position);
    first.map_or(" ".to_owned(), |position| format!("{position}: "))
}
