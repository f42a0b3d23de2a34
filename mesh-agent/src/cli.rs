//! The commands: each ends in a line of what happened and an exit status.

mod ask;
mod list;
mod log;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use crate::app::{self, AppError};
use crate::check;
use crate::settings::{Command, Settings};

/// Does what the command line asks for.
#[must_use]
pub fn main(settings: &Settings) -> ExitCode {
    log::start(&settings.log);
    let done = match &settings.command {
        Command::Run(run) => app::run(run).map_err(Failure::from),
        Command::Check(format) => return check::run(format.json),
        Command::Workloads(query) => list::workloads(query),
        Command::Connections(query) => list::connections(query),
        Command::Validate(_) | Command::Load(_) | Command::Unload(_) => Err(Failure::App(AppError::NotYet)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("mesh-agent: {failure}");
            failure.status()
        }
    }
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The agent could not start, or not go on.
    #[error(transparent)]
    App(#[from] AppError),
    /// The running agent did not answer.
    #[error(transparent)]
    Ask(#[from] ask::AskError),
    /// What there is to say could not be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
}

impl Failure {
    /// 2 if the user's configuration is wrong, 1 if the command could not be done.
    fn status(&self) -> ExitCode {
        match self {
            Self::App(_) | Self::Ask(_) | Self::Output(_) => ExitCode::FAILURE,
        }
    }
}

/// Writes an answer. A reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}
