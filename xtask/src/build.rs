//! `cargo xtask build`: the agent with its kernel programs.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{
    process,
    setup::{self, Need},
    workspace,
};

/// What to build.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Optimised, as for use; takes minutes where the debug build takes seconds
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    agent(args.release)?;
    Ok(ExitCode::SUCCESS)
}

/// Builds the agent, getting the toolchain first if there is none.
pub(crate) fn agent(release: bool) -> Result<()> {
    setup::ensure(&[Need::Build])?;
    process::run(cargo_build(release).args(["--package", "mesh-agent"]))
}

/// Builds the agent and the programs that stand around it in the demo.
pub(crate) fn agent_and_world() -> Result<()> {
    process::run(cargo_build(false).args(["--package", "mesh-agent", "--package", "mesh-tests"]))
}

fn cargo_build(release: bool) -> Command {
    let mut command = workspace::cargo();
    command.args(["build", "--quiet", "--bins"]);
    if release {
        command.arg("--release");
    }
    command
}
