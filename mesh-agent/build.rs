//! Builds the kernel programs and leaves the object where the agent includes it from: `OUT_DIR/mesh-ebpf`.

use std::{env, path::Path};

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace is the folder above the agent")?;
    let out_dir = env::var_os("OUT_DIR").context("cargo sets OUT_DIR for a build script")?;
    mesh_ebpf_build::rerun_when_changed(root);
    match mesh_ebpf_build::build(root, Path::new(&out_dir)) {
        Ok(_) => Ok(()),
        // Nothing is wrong with the sources: one line says what to do, where a failing script would print its whole log.
        Err(error) if error.is::<mesh_ebpf_build::Missing>() => {
            println!("cargo::error={error}");
            Ok(())
        }
        Err(error) => Err(error),
    }
}
