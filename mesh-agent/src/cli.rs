//! The commands: each ends in a line of what happened and an exit status.

mod list;
mod log;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use crate::admin::AskError;
use crate::app::{self, AppError};
use crate::check;
use crate::drain::Outcome;
use crate::file::{self, ConfigErrors};
use crate::kernel::pin::{self, PinsError};
use crate::kernel::selftest;
use crate::settings::{Command, Pins, Run, Settings, Source};

/// Does what the command line asks for.
#[must_use]
pub fn main(settings: &Settings) -> ExitCode {
    log::start(&settings.log);
    let done = match &settings.command {
        Command::Run(run) => run_agent(run),
        Command::Validate(source) => validate(source),
        Command::Check(format) => return check::run(format.json),
        Command::Workloads(query) => list::workloads(query),
        Command::Config(query) => list::config(query),
        Command::Connections(query) => list::connections(query),
        Command::Load(pins) => load(pins),
        Command::TryAcceleration { cgroup } => return selftest::act(cgroup),
        Command::Uninstall(pins) => pin::uninstall(&pins.pin_path).map_err(Failure::from),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = match &failure {
                // Each line begins with its place, where editors look for it.
                Failure::Config(errors) => format!("{errors}\n"),
                _ => format!("mesh-agent: {failure}\n"),
            };
            // The status tells, whoever reads the text.
            let _ = log::StandardError.write_all(text.as_bytes());
            failure.status()
        }
    }
}

fn run_agent(settings: &Run) -> Result<(), Failure> {
    let config = file::load(&settings.source.file)?;
    // Whoever asked for the end twice, or set its deadline, got what they asked for: no failure.
    if let Outcome::DeadlinePassed { left } | Outcome::Cut { left } = app::run(config, settings)? {
        tracing::warn!(left, "connections were cut off");
    }
    Ok(())
}

fn validate(source: &Source) -> Result<(), Failure> {
    let config = file::load(&source.file)?;
    app::check(&config)?;
    print(&format!("{}: ok\n", source.file.display()))
}

fn load(pins: &Pins) -> Result<(), Failure> {
    let mut text = String::new();
    for verified in pin::load(&pins.pin_path)? {
        let count = verified.instructions.map_or_else(|| "?".to_owned(), |count| count.to_string());
        text.push_str(&format!("{:12} {count:>6} instructions verified\n", verified.program));
    }
    print(&format!("{text}pinned under {}\n", pins.pin_path.display()))
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The programs could not be pinned, or the pins not removed.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// The agent could not start, or not go on.
    #[error(transparent)]
    App(#[from] AppError),
    /// The running agent did not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// What there is to say could not be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
}

impl Failure {
    /// 2 if the user's configuration is wrong, 1 if the command could not be done.
    fn status(&self) -> ExitCode {
        match self {
            Self::Config(_) | Self::App(AppError::Rejected(_) | AppError::Identity { .. }) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
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
