//! The agent's command line.

use std::process::ExitCode;

use clap::Parser;
use mesh_agent::cli;
use mesh_agent::settings::Settings;

fn main() -> ExitCode {
    cli::main(&Settings::parse())
}
