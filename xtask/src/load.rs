//! `cargo xtask load` and `unload`: the kernel programs by hand, for who works on them.

use std::{
    ffi::OsString,
    process::{Command, ExitCode},
};

use anyhow::Result;

use crate::{build, process, workspace};

/// Builds the agent and becomes `mesh-agent VERB`.
pub(crate) fn run(verb: &str, args: &[OsString]) -> Result<ExitCode> {
    build::agent(false)?;
    Err(process::exec(Command::new(workspace::debug_program("mesh-agent")).arg(verb).args(args)))
}
