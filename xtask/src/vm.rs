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
mod page;
mod qemu;
pub(crate) mod record;
mod report;
mod soak;
mod stress;

use std::{
    fs,
    path::Path,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    setup::{self, Need},
    vm::{
        initramfs::Base,
        kernel::{Catalogue, Kernel, Series},
        qemu::{Machine, Qemu},
        record::{Record, Row},
        report::{OLDEST, Report},
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
    /// Run scenarios with this in their name only; may be given again
    #[arg(long = "scenario", value_name = "PART", conflicts_with = "programs")]
    scenarios: Vec<String>,
    /// Three kernels only: the oldest, the oldest that the mesh is made for, and the newest
    #[arg(long, conflicts_with = "kernels")]
    quick: bool,
    /// Hold 10,000 connections at once through one pod, instead of all else; on the newest kernel if none is named
    #[arg(long, conflicts_with_all = ["programs", "scenarios"])]
    soak: bool,
    /// A part of the stress suite instead of all else, on each kernel
    #[arg(long, conflicts_with_all = ["programs", "scenarios", "soak"])]
    stress: bool,
    /// Which part of the 200,000 connections and 50 GB: one of so many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..), requires = "stress")]
    share: u64,
    /// Put what was seen into docs/kernels.json and docs/kernels.md
    #[arg(long, conflicts_with_all = ["soak", "stress", "quick"])]
    write: bool,
    /// Print what was seen as JSON, and all else to standard error
    #[arg(long, conflicts_with_all = ["soak", "stress"])]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::ensure(&[Need::Build, Need::World])?;
    let catalogue = Catalogue::load()?;
    let (matrix, absent) = catalogue.matrix();
    let wanted = if !args.kernels.is_empty() {
        args.kernels.iter().map(|it| series(it)).collect::<Result<_>>()?
    } else if args.quick {
        few(&matrix)
    } else {
        matrix
    };
    let qemu = Qemu::find()?;
    let base = Base::build()?;
    let folder = workspace::target().join("vm");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let kernels: Vec<_> = wanted.into_iter().map(|series| catalogue.get(series)).collect::<Result<_>>()?;

    if args.soak {
        return soak::run(&qemu, kernels.last().context("no kernel")?, &base, &folder);
    }
    if args.stress {
        return stress::run(&qemu, &kernels, &base, &folder, args.share);
    }
    let word = match args.scenarios.as_slice() {
        [] if args.programs => "run=programs".to_owned(),
        [] => "run=all".to_owned(),
        parts => format!("run=like:{}", parts.join(",")),
    };
    let record = Record::read()?;
    let reports = all(&kernels, |kernel| one(&qemu, kernel, &base, &folder, &word))?;
    // What is written down is the measure from then on.
    let grown: Vec<_> = reports.iter().filter(|_| !args.write).flat_map(|report| record.growth(report)).collect();
    for line in &grown {
        eprintln!("{line}; `cargo xtask vm --write` accepts it");
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&reports.iter().map(Row::new).collect::<Vec<_>>())?);
    }
    for series in absent.iter().filter(|_| args.kernels.is_empty() && !args.quick) {
        eprintln!("Linux {series}: no Debian suite has it");
    }
    if args.write {
        // As it is by now: another run may have written too. The newest kernel of then may be none of the matrix any more.
        let record = Record::read()?;
        let mut record = if args.kernels.is_empty() { record.only(&reports) } else { record };
        reports.iter().for_each(|report| record.update(report));
        record.write()?;
    }
    let good = grown.is_empty() && reports.iter().all(Report::is_good);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Two at a time: most of a scenario is waiting. In the order of the kernels, however they end.
fn all(kernels: &[Kernel], run: impl Fn(&Kernel) -> Result<Report> + Sync) -> Result<Vec<Report>> {
    // The newest tell most, and take longest.
    let (left, done) = (Mutex::new(kernels.iter().collect::<Vec<_>>()), Mutex::new(Vec::new()));
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).pop();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(kernel) = next() {
                    let report = run(kernel);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(report);
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut reports = done.into_iter().collect::<Result<Vec<_>>>()?;
    reports.sort_by_key(|report| report.series);
    Ok(reports)
}

fn one(qemu: &Qemu, kernel: &Kernel, base: &Base, folder: &Path, word: &str) -> Result<Report> {
    let (initramfs, log) =
        (folder.join(format!("{}.cpio", kernel.series)), folder.join(format!("{}.log", kernel.series)));
    base.write(kernel, &initramfs)?;
    let started = Instant::now();
    let words = &[word][..];
    let machine = Machine { kernel, initramfs: &initramfs, megabytes: 1024, words, deadline: LONGEST, log: &log };
    let said = qemu.run(&machine)?;
    let report =
        Report::new(kernel, &said).with_context(|| format!("Linux {}: see {}", kernel.release, log.display()))?;
    eprint!("{} in {} s\n{}", report.summary(), started.elapsed().as_secs(), report.troubles());
    Ok(report)
}

/// The oldest, the oldest that the mesh is made for, and the newest.
fn few(matrix: &[Series]) -> Vec<Series> {
    let made_for = matrix.iter().find(|series| **series >= OLDEST);
    let mut few: Vec<_> = matrix.first().into_iter().chain(made_for).chain(matrix.last()).copied().collect();
    few.dedup();
    few
}

fn series(text: &str) -> Result<Series> {
    match Series::parse(text) {
        Some(series) if series.to_string() == text => Ok(series),
        _ => bail!("--kernel {text}: a series is two numbers, as 6.1"),
    }
}

/// What takes longer than this does not end, even where other work has the processors.
const LONGEST: Duration = Duration::from_secs(1200);

/// Each has two processors.
const AT_ONCE: usize = 2;
