//! Child processes: shown before they run, and an error when they fail.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    process::{Command, ExitStatus},
};

use anyhow::{Context, Error, Result, bail};

/// Shows and runs `command`; failing is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("`{}` failed ({status})", shown(command));
    }
    Ok(())
}

/// Shows and runs `command`, for a caller that makes its own of how it ended.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    eprintln!("$ {}", shown(command));
    command.status().with_context(|| format!("cannot run `{}`", shown(command)))
}

/// Becomes `command`, so that signals and the terminal are its own. Returns only if that is not possible.
pub(crate) fn exec(command: &mut Command) -> Error {
    let error = command.exec();
    Error::new(error).context(format!("cannot run `{}`", shown(command)))
}

/// What `command` prints, or nothing if it fails or is not there.
pub(crate) fn printed(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// Whether this process may do as root does.
pub(crate) fn is_root() -> bool {
    // /proc/self belongs to the effective user: no system call wrapper is needed to ask.
    fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0)
}

/// As one would type it.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
