//! bpf-linker, built from its sources against the distribution's LLVM.

use anyhow::Result;
use mesh_ebpf_build::BPF_LINKER_VERSION;

use crate::{process, workspace};

/// The LLVM it is built on: Debian's newest, and no older than that of Debian's newest compiler.
pub(crate) const LLVM: u32 = 22;

/// Takes about a minute on two cores.
pub(crate) fn install() -> Result<()> {
    eprintln!("setup: building bpf-linker {BPF_LINKER_VERSION} on LLVM {LLVM}");
    let mut command = workspace::cargo();
    command
        .args(["install", "--locked", "--quiet", "bpf-linker", "--version", BPF_LINKER_VERSION])
        .args(["--no-default-features", "--features", &format!("llvm-{LLVM}")])
        .env("LLVM_PREFIX", format!("/usr/lib/llvm-{LLVM}"));
    process::run(&mut command)
}
