//! What to tell the user of a machine that setup cannot serve.

use mesh_ebpf_build::BPF_LINKER_VERSION;

use crate::setup::{Lacking, linker, peers};

/// Every command or package that is missing, and nothing else.
pub(crate) fn instructions(lacking: &Lacking) -> String {
    let mut lines = vec!["setup installs on Debian 12 and newer only; here, install by hand:".to_owned()];
    if let Some(missing) = &lacking.toolchain {
        if missing.compiler {
            lines.push(format!("rustup toolchain install {NIGHTLY} --profile minimal --component rust-src"));
        }
        if missing.bpf_linker {
            lines.push(format!(
                "LLVM {llvm} with its headers, then: LLVM_PREFIX=<where it is> cargo install --locked bpf-linker \
                 --version {BPF_LINKER_VERSION} --no-default-features --features llvm-{llvm}",
                llvm = linker::LLVM
            ));
        }
    }
    if !lacking.tools.is_empty() {
        let packages: Vec<_> = lacking.tools.iter().map(|tool| tool.package).collect();
        lines.push(format!("what Debian packages as: {}", packages.join(" ")));
    }
    if lacking.envoy {
        lines.push(format!("Envoy, as {} (its Python package is {})", peers::envoy().display(), peers::ENVOY));
    }
    lines.join("\n  ")
}

/// A nightly that the linker can follow: a later one may write LLVM code too new for it.
const NIGHTLY: &str = "nightly-2026-05-20";

#[cfg(test)]
mod tests {
    use mesh_ebpf_build::Missing;

    use super::*;

    #[test]
    fn only_what_is_missing_is_named() {
        let missing = Missing { compiler: false, bpf_linker: true };
        let text = instructions(&Lacking { toolchain: Some(missing), tools: Vec::new(), envoy: false });
        assert!(text.contains("bpf-linker --version 0.13.0 --no-default-features --features llvm-22"), "{text}");
        assert!(!text.contains("rustup") && !text.contains("Envoy") && !text.contains("packages"), "{text}");
    }
}
