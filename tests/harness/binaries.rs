//! Where the programs under test are.
//!
//! `mesh-peer` is of this package, so cargo has built it beside the test. `mesh-agent` isn't: it is built here, once per
//! test program, unless `MESH_AGENT_BIN` names one (as where there is no cargo, in a virtual machine).

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, ensure};

/// The agent.
///
/// # Errors
/// If it can't be built or isn't there.
pub fn agent() -> anyhow::Result<PathBuf> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    if let Some(path) = env::var_os("MESH_AGENT_BIN") {
        return Ok(PathBuf::from(path));
    }
    BUILT.get_or_init(|| build_agent().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)?;
    sibling("mesh-agent")
}

/// The helper that stands in pods.
///
/// # Errors
/// If it isn't there.
pub fn peer() -> anyhow::Result<PathBuf> {
    sibling("mesh-peer")
}

fn build_agent() -> anyhow::Result<()> {
    // Set by `cargo test` and `cargo run`; otherwise what is there is used.
    let Some(cargo) = env::var_os("CARGO") else { return Ok(()) };
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--bin", "mesh-agent"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.args(["--package", "mesh-agent"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output().context("cargo")?;
    ensure!(output.status.success(), "cargo build of mesh-agent:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A program beside this one; test programs are one folder further down.
fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let this = env::current_exe().context("path of this program")?;
    let found = this.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| {
        let folder = this.parent().unwrap_or(Path::new(".")).display();
        format!("no {name} near {folder}: run `cargo build --workspace --bins`")
    })
}
