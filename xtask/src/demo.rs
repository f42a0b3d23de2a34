//! `cargo xtask demo`: Bookinfo in network namespaces, steered by the agent.
//!
//! The debug build on purpose: it is the one the tests use, so whoever ran either has it, and on two cores the optimised
//! one costs minutes that a demo of a few hundred requests a second never earns back.

use std::{
    ffi::OsString,
    process::{Command, ExitCode},
};

use anyhow::{Result, bail};

use crate::{
    build, process,
    setup::{self, Need},
    workspace,
};

pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    if !process::is_root() && !args.iter().any(|arg| arg == "--help") {
        bail!(
            "the demo makes network namespaces, cgroups and BPF programs: run it as root, `sudo -E cargo xtask demo`"
        );
    }
    setup::ensure(&[Need::Build, Need::World])?;
    build::agent_and_world()?;
    let mut demo = Command::new(workspace::debug_program("demo"));
    Err(process::exec(demo.args(args).env("MESH_AGENT_BIN", workspace::debug_program("mesh-agent"))))
}
