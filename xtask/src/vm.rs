//! `cargo xtask vm`: the kernel programs and their tests on other kernels than this machine's, in virtual machines.
//!
//! Debian's kernels, old to new, each with a root of nothing but what is tested. What is run inside is the suite that `cargo
//! xtask test kernel` runs here: a scenario is a test, and there is no second list of them.

mod cache;
mod cpio;
mod debian;
mod initramfs;
mod kernel;
mod modules;
mod qemu;
mod report;
mod soak;

use std::{
    fs,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    setup::{self, Need},
    vm::{
        initramfs::Base,
        kernel::{Catalogue, Series},
        qemu::{Machine, Qemu},
        report::Report,
    },
    workspace,
};

/// Which kernels, and what to do with what they say.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A kernel by its series, as 6.1; may be given again. All of the matrix if absent
    #[arg(long = "kernel", value_name = "SERIES")]
    kernels: Vec<String>,
    /// Load the programs and run no scenarios
    #[arg(long)]
    programs: bool,
    /// Hold 10,000 connections at once through one pod, instead of all else; on the newest kernel if none is named
    #[arg(long, conflicts_with = "programs")]
    soak: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::ensure(&[Need::Build, Need::World])?;
    let catalogue = Catalogue::load()?;
    let (matrix, absent) = catalogue.matrix();
    let wanted = if args.kernels.is_empty() {
        matrix
    } else {
        args.kernels.iter().map(|it| series(it)).collect::<Result<_>>()?
    };
    let qemu = Qemu::find()?;
    let base = Base::build()?;
    let folder = workspace::target().join("vm");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;

    if args.soak {
        let series = wanted.last().copied().context("no kernel")?;
        return soak::run(&qemu, &catalogue.get(series)?, &base, &folder);
    }
    let words: &[&str] = if args.programs { &["only=programs"] } else { &[] };
    let mut reports = Vec::new();
    for series in wanted {
        let kernel = catalogue.get(series)?;
        let initramfs = folder.join(format!("{series}.cpio"));
        base.write(&kernel, &initramfs)?;
        let started = Instant::now();
        let log = folder.join(format!("{series}.log"));
        let machine =
            Machine { kernel: &kernel, initramfs: &initramfs, megabytes: 1024, words, deadline: LONGEST, log: &log };
        let said = qemu.run(&machine)?;
        let report =
            Report::new(&kernel, &said).with_context(|| format!("Linux {}: see {}", kernel.release, log.display()))?;
        println!("{} in {} s", report.summary(), started.elapsed().as_secs());
        print!("{}", report.troubles());
        reports.push(report);
    }
    print!("\n{}", report::table(&reports));
    for series in absent {
        println!("Linux {series}: no Debian suite has it");
    }
    Ok(if reports.iter().all(Report::is_good) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn series(text: &str) -> Result<Series> {
    match Series::parse(text) {
        Some(series) if series.to_string() == text => Ok(series),
        _ => bail!("--kernel {text}: a series is two numbers, as 6.1"),
    }
}

/// What takes longer than this does not end, even where other work has the processors.
const LONGEST: Duration = Duration::from_secs(1200);
