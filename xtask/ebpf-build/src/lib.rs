//! Builds the kernel programs with whatever toolchain of this machine can do it.
//!
//! Two callers: `mesh-agent`'s build script, which puts the object beside the agent, and `cargo xtask setup`, which has
//! to know what is missing before anything is built. So this crate depends on nothing that needs the object, and finding
//! ([`Toolchain::find`]) is apart from building ([`build`]). Installing is not done here: a build must not change the
//! machine.

mod environment;
mod toolchain;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

pub use crate::toolchain::{BPF_LINKER_VERSION, Compiler, Missing, Toolchain, cargo_bin, find_program};

/// Builds the programs of `workspace_root` and returns the object's path, `out_dir/mesh-ebpf`.
///
/// Both the target's byte order and the architecture whose kernel the programs read come from the variables cargo gives
/// a build script, and are this machine's when there are none.
pub fn build(workspace_root: &Path, out_dir: &Path) -> Result<PathBuf> {
    let toolchain = Toolchain::find()?;
    let machine = Machine::from_env();
    let target_dir = target_dir(out_dir);
    let mut command = cargo(&toolchain, &machine);
    command.current_dir(workspace_root).arg("--target-dir").arg(&target_dir);
    let output = command.output().with_context(|| format!("cannot run {}", toolchain.cargo.display()))?;
    if !output.status.success() {
        bail!("the kernel programs do not build with {toolchain}:\n{}", String::from_utf8_lossy(&output.stderr));
    }

    let object = out_dir.join(PACKAGE);
    let built = target_dir.join(machine.target).join("release").join(PACKAGE);
    fs::copy(&built, &object).with_context(|| format!("cannot copy {} to {}", built.display(), object.display()))?;
    Ok(object)
}

/// Cargo locks its target directory while it waits for build scripts, so the nested one needs a directory of its own. All
/// profiles share it, beside theirs: the programs, and `core` with them, are built once, not once for each.
fn target_dir(out_dir: &Path) -> PathBuf {
    // `TARGET/PROFILE/build/PACKAGE-HASH/out`
    out_dir.ancestors().nth(4).unwrap_or(out_dir).join("bpf")
}

/// Tells cargo, from inside a build script, when the object has to be built again.
#[expect(clippy::print_stdout, reason = "a build script talks to cargo on its standard output")]
pub fn rerun_when_changed(workspace_root: &Path) {
    for source in ["mesh-ebpf", "mesh-common", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace_root.join(source).display());
    }
    for variable in toolchain::OVERRIDES {
        println!("cargo::rerun-if-env-changed={variable}");
    }
}

/// The nested cargo, complete but for where it runs and puts its files.
fn cargo(toolchain: &Toolchain, machine: &Machine) -> Command {
    let mut command = Command::new(&toolchain.cargo);
    environment::clean(&mut command);
    command
        .args(["build", "--locked", "--quiet", "--release", "--package", PACKAGE, "--target", machine.target])
        .args(["-Z", "build-std=core"])
        // The workspace's release profile is made for the agent. Debug info is what BTF is derived from, and the linker
        // does the link-time optimisation itself.
        .args(["--config", "profile.release.lto=\"off\"", "--config", "profile.release.debug=2"])
        .env("RUSTC", &toolchain.rustc)
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(toolchain, machine));
    if toolchain.compiler == Compiler::System {
        command.env("RUSTC_BOOTSTRAP", "1");
    }
    command
}

fn rustflags(toolchain: &Toolchain, machine: &Machine) -> String {
    [
        format!("--cfg=bpf_target_arch=\"{}\"", machine.arch),
        format!("-Clinker={}", toolchain.bpf_linker.display()),
        "-Clink-arg=--btf".to_owned(),
    ]
    .join("\x1f")
}

/// The machine the programs will run on.
#[derive(Debug)]
struct Machine {
    target: &'static str,
    /// As aya names it: all RISC-V of 64 bits are one.
    arch: String,
}

impl Machine {
    fn from_env() -> Self {
        let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_else(|_| env::consts::ARCH.to_owned());
        let endian = env::var("CARGO_CFG_TARGET_ENDIAN").ok();
        Self::new(&arch, endian.as_deref())
    }

    fn new(arch: &str, endian: Option<&str>) -> Self {
        let big = endian.map_or(cfg!(target_endian = "big"), |endian| endian == "big");
        Self {
            target: if big { "bpfeb-unknown-none" } else { "bpfel-unknown-none" },
            arch: if arch.starts_with("riscv64") { "riscv64".to_owned() } else { arch.to_owned() },
        }
    }
}

/// The package and the object carry one name.
const PACKAGE: &str = "mesh-ebpf";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_follows_the_target_not_the_builder() {
        assert_eq!(Machine::new("s390x", Some("big")).target, "bpfeb-unknown-none");
        assert_eq!(Machine::new("x86_64", Some("little")).target, "bpfel-unknown-none");
        assert_eq!(Machine::new("riscv64gc", Some("little")).arch, "riscv64");
    }
}
