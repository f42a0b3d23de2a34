//! `cargo xtask`: everything a developer runs, from a bare machine to a benchmark.
//!
//! This file is the command line and nothing else; each verb is a file of its own. Verbs that need something a bare
//! machine lacks get it through [`setup`], so there is no order to remember.

mod bench;
mod build;
mod demo;
mod load;
mod process;
mod setup;
mod test;
mod tidy;
mod vm;
mod workspace;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Development commands of Bowline")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install what building, testing and the demo need; does nothing when all is there
    Setup(setup::Args),
    /// Build the agent with its kernel programs
    Build(build::Args),
    /// Load the kernel programs once and show what the kernel made of them
    Load {
        /// Passed on to `mesh-agent load`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Remove every trace that `load` or an agent left in the kernel
    Unload {
        /// Passed on to `mesh-agent uninstall`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Run the Bookinfo demo: seven pods, one agent, no sidecar
    Demo {
        /// Passed on to the demo, as `--check`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Run all tests, or those of one suite or name
    Test(test::Args),
    /// Run the kernel tests on a matrix of kernels
    Vm(vm::Args),
    /// Measure the agent beside other proxies
    Bench(bench::Args),
    /// Check the rules of style that the compiler does not know
    Tidy,
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Setup(args) => setup::run(&args),
        Verb::Build(args) => build::run(&args),
        Verb::Load { args } => load::run("load", &args),
        Verb::Unload { args } => load::run("uninstall", &args),
        Verb::Demo { args } => demo::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Vm(args) => vm::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Tidy => tidy::run(),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
