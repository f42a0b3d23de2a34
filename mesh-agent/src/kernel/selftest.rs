//! The self-test of acceleration: whether this kernel gives an accelerated socket what apps rely on.
//!
//! What apps rely on is tried twice, on ordinary sockets and on accelerated ones, and what was seen is compared ([`checks`]). It
//! happens in a process of its own, in a namespace and a cgroup of its own, through programs of its own ([`stage`]): no socket
//! of anybody else is touched, no signal handler stays, and what hangs can be ended. Its verdict is what `acceleration: auto` does.
//!
//! Left out are io_uring, for which nothing here has the calls, and what the mesh itself takes away (kernel TLS).

mod checks;
mod endings;
mod ends;
mod stage;
mod sys;
mod wakeups;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{fs, process, thread};

use serde::{Deserialize, Serialize};

use crate::kernel::cgroup::{AGENTS_OWN, Cgroups};
use crate::kernel::loader;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tried {
    /// What was seen.
    All(Vec<Check>),
    /// It could not be made: why.
    Not(String),
}

/// One thing that apps rely on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// What an app sees on ordinary sockets.
    pub ordinary: String,
    /// What it sees on accelerated ones.
    pub accelerated: String,
    /// Whether that is the same.
    pub same: bool,
}

impl Tried {
    /// Why acceleration should not be on here. Nothing: an app sees no difference.
    #[must_use]
    pub fn objections(&self) -> Vec<String> {
        match self {
            Self::All(checks) => checks.iter().filter(|check| !check.same).map(Check::objection).collect(),
            Self::Not(why) => vec![format!("the self-test could not be made: {why}")],
        }
    }
}

impl Check {
    fn objection(&self) -> String {
        let Self { name, ordinary, accelerated, .. } = self;
        format!("{name}: {accelerated}, instead of {ordinary}")
    }
}

/// Makes the test, which takes a third of a second, and gives up after `longest`.
#[must_use]
pub fn run(longest: Duration) -> Tried {
    if let Err(error) = loader::may_load() {
        return Tried::Not(error.to_string());
    }
    in_a_process(longest).unwrap_or_else(|error| Tried::Not(error.to_string()))
}

/// The other process: what `mesh-agent` does if it is called as [`COMMAND`].
#[must_use]
pub fn act(cgroup: &Path) -> ExitCode {
    let tried = stage::act(cgroup).unwrap_or_else(Tried::Not);
    // Nobody is left to be told.
    let _ = serde_json::to_writer(io::stdout(), &tried);
    ExitCode::SUCCESS
}

fn in_a_process(longest: Duration) -> io::Result<Tried> {
    let cgroup = Scratch::make()?;
    let mut command = Command::new("/proc/self/exe");
    command.arg(COMMAND).arg(&cgroup.0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let output = child.stdout.take();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        let read = output.map_or(Ok(0), |mut output| output.read_to_string(&mut text));
        // Nobody listens if it took too long.
        let _ = tell.send(read.map(|_| text));
    });
    let told = told.recv_timeout(longest);
    // It may have ended by itself.
    let _ = child.kill();
    let status = child.wait()?;
    let text = told.map_err(|_| io::Error::other(format!("it took longer than {longest:?}")))??;
    serde_json::from_str(&text).map_err(|_| io::Error::other(format!("its process ended early: {status}")))
}

/// A cgroup below this process's own.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> io::Result<Self> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).ok_or(io::ErrorKind::NotFound)?;
        let folder = Cgroups::find().map_err(io::Error::other)?.folder(Path::new(own));
        // By its name the next agent knows what it may remove, should this one be killed.
        let scratch = folder.join(format!("{AGENTS_OWN}try.{}", process::id()));
        match fs::create_dir(&scratch) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                let path = scratch.display();
                Err(io::Error::new(error.kind(), format!("cannot make cgroup {path}: {error}")))
            }
            _ => Ok(Self(scratch)),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            tracing::debug!(%error, cgroup = %self.0.display(), "a cgroup stays behind");
        }
    }
}

/// The name of the command that [`act`] belongs to. Nobody else's: it is in no help.
pub const COMMAND: &str = "try-acceleration";

#[cfg(test)]
mod tests;
