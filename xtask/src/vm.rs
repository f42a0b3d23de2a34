//! `cargo xtask vm`: the kernel tests on other kernels than this machine's, in virtual machines.

use std::process::ExitCode;

/// Says when it comes: a verb that is known but absent should not look like a typing error.
pub(crate) fn run() -> ExitCode {
    eprintln!(
        "error: `cargo xtask vm` comes with issue 3 (the kernel path and its matrix); `cargo xtask test` uses this kernel"
    );
    ExitCode::from(2)
}
