//! `cargo xtask setup`: from a bare machine to one that builds, tests and shows Bowline.
//!
//! Asked every time by the verbs that build something, so looking must be cheap: the only thing started is one compiler,
//! to see its version. Debian 12 and newer are served; anywhere else what is missing is named, with the commands.

mod by_hand;
mod debian;
mod linker;
pub(crate) mod peers;
mod tools;

use std::process::ExitCode;

use anyhow::{Result, bail};
use mesh_ebpf_build::{Missing, Toolchain};

use crate::setup::tools::Tool;

/// What to set up.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also bring what Bowline is compared with: Envoy, haproxy, nginx, and the load generators
    #[arg(long)]
    peers: bool,
}

/// What a verb cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// The kernel programs can be built.
    Build,
    /// Pods can be made on this machine, with a real Redis in one of them.
    World,
    /// Envoy, to compare with.
    Envoy,
    /// The other proxies and the load generators of the benchmarks.
    Rivals,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut needs = vec![Need::Build, Need::World];
    if args.peers {
        needs.extend([Need::Envoy, Need::Rivals]);
    }
    ensure(&needs)?;

    println!("kernel programs: built with {}", Toolchain::find()?);
    for tool in needs.iter().flat_map(|&need| tools::of(need)) {
        println!("{}: {}", tool.package, tool.place().unwrap_or_else(|| "there".into()));
    }
    if args.peers {
        println!("envoy: {}", peers::envoy().display());
        println!("python with grpcio: {}", peers::python().display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Installs what `needs` lacks; at once done if that is nothing.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let lacking = Lacking::look(needs);
    if lacking.is_nothing() {
        return Ok(());
    }
    if !debian::is_served() {
        bail!("{}", by_hand::instructions(&lacking));
    }
    debian::install(&lacking.packages())?;
    if lacking.toolchain.is_some_and(|missing| missing.bpf_linker) {
        linker::install()?;
    }
    if lacking.envoy {
        peers::install()?;
    }
    let still = Lacking::look(needs);
    if !still.is_nothing() {
        bail!("still missing after the installation. {}", by_hand::instructions(&still));
    }
    Ok(())
}

/// What is not there.
#[derive(Debug)]
struct Lacking {
    toolchain: Option<Missing>,
    tools: Vec<&'static Tool>,
    envoy: bool,
}

impl Lacking {
    fn look(needs: &[Need]) -> Self {
        let envoy = needs.contains(&Need::Envoy) && !peers::is_installed();
        let tools = needs.iter().filter(|&&need| envoy || need != Need::Envoy).flat_map(|&need| tools::of(need));
        Self {
            toolchain: if needs.contains(&Need::Build) { Toolchain::find().err() } else { None },
            tools: tools.filter(|tool| !tool.is_there()).collect(),
            envoy,
        }
    }

    fn is_nothing(&self) -> bool {
        self.toolchain.is_none() && self.tools.is_empty() && !self.envoy
    }

    fn packages(&self) -> Vec<&'static str> {
        let mut packages: Vec<_> = self.tools.iter().map(|tool| tool.package).collect();
        if let Some(missing) = &self.toolchain {
            if missing.compiler {
                packages.extend(debian::COMPILER);
            }
            if missing.bpf_linker {
                packages.extend(debian::LINKER_LIBRARIES);
            }
        }
        packages
    }
}
