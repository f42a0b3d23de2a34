//! Where kernels, and what runs them, are kept between runs and between checkouts.

use std::{env, fs, path::Path, path::PathBuf, process};

use anyhow::{Context, Result};

/// `bowline/vm` in the user's cache folder; made if it is not there.
pub(crate) fn folder() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.or_else(|| env::home_dir().map(|home| home.join(".cache")));
    let folder = base.context("neither XDG_CACHE_HOME nor HOME says where to keep kernels")?.join("bowline/vm");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// Fills a new folder and puts it at `place` when it is whole: no other run ever sees a part of it.
pub(crate) fn fill(place: &Path, work: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let unfinished = place.with_extension(format!("{}.part", process::id()));
    fs::create_dir_all(&unfinished).with_context(|| unfinished.display().to_string())?;
    let done = work(&unfinished).and_then(|()| {
        if place.exists() {
            fs::remove_dir_all(place)?;
        }
        Ok(fs::rename(&unfinished, place)?)
    });
    if done.is_err() {
        // What is left would only take room.
        let _ = fs::remove_dir_all(&unfinished);
    }
    done.with_context(|| format!("cannot fill {}", place.display()))
}
