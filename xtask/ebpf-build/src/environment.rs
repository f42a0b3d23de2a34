//! What a nested cargo may not inherit from the one around it.
//!
//! A build script runs with the compiler, flags, wrappers and target of the outer build in its environment. Left in
//! place they would build the kernel programs with the wrong compiler, or make `cargo clippy` lint them with another
//! compiler's clippy. Where cargo keeps and gets its crates from is the user's and stays.

use std::{env, process::Command};

/// Takes out of `command` what belongs to the outer build.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_of_the_outer_build) {
            command.env_remove(&name);
        }
    }
}

fn is_of_the_outer_build(name: &str) -> bool {
    if name.starts_with("CARGO") {
        return !KEPT.iter().any(|kept| name.starts_with(kept));
    }
    DROPPED.contains(&name)
}

/// The user's: where crates live, how to reach a registry, how to print.
const KEPT: [&str; 5] = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_TERM_"];

/// `LD_LIBRARY_PATH` is among them because cargo points it at the outer compiler's libraries.
const DROPPED: [&str; 12] = [
    "LD_LIBRARY_PATH",
    "MAKEFLAGS",
    "MFLAGS",
    "OUT_DIR",
    "RUSTC",
    "RUSTC_BOOTSTRAP",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_compiler_goes_and_the_registry_settings_stay() {
        for name in ["RUSTC", "RUSTFLAGS", "CARGO", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTUP_TOOLCHAIN"]
        {
            assert!(is_of_the_outer_build(name), "{name}");
        }
        for name in ["PATH", "HOME", "CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_REGISTRIES_MINE_INDEX", "RUSTUP_HOME"] {
            assert!(!is_of_the_outer_build(name), "{name}");
        }
    }
}
