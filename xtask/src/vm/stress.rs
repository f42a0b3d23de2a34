//! `cargo xtask vm --stress`: the stress suite on other kernels: every byte compared, through each tier, with acceleration and without.
//!
//! A part of what `cargo xtask test stress` does natively, as emulation is slow; the time it takes says nothing. Each connection has the
//! same plan as there, by its number and the seed.

use std::{path::Path, process::ExitCode, time::Duration, time::Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    test::STRESS,
    vm::{
        initramfs::Base,
        kernel::Kernel,
        qemu::{Machine, Qemu},
        report::OLDEST,
    },
};

/// One part of so many.
pub(crate) fn run(qemu: &Qemu, kernels: &[Kernel], base: &Base, folder: &Path, share: u64) -> Result<ExitCode> {
    let [connections, megabytes] = STRESS.map(|(_, all)| (all / share).max(1));
    let word = format!("run=stress:{connections}:{megabytes}");
    let mut good = true;
    for kernel in kernels {
        if kernel.series < OLDEST {
            println!("Linux {}: not here, the mesh is made for {OLDEST} and newer", kernel.release);
            continue;
        }
        let started = Instant::now();
        let said = machine(qemu, kernel, base, folder, &word)?;
        let told: Vec<_> = said.iter().filter(|it| it["scenario"].is_string()).collect();
        let passed = told.iter().filter(|it| it["passed"] == true).count();
        println!(
            "Linux {}: {passed} of {} scenarios with {connections} connections and {megabytes} MB each, {} s",
            kernel.release,
            told.len(),
            started.elapsed().as_secs()
        );
        told.iter().for_each(|it| print(it));
        good &= passed == told.len() && !told.is_empty();
    }
    println!("stress, one part of {share}: {}", if good { "ok" } else { "FAILED" });
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn machine(qemu: &Qemu, kernel: &Kernel, base: &Base, folder: &Path, word: &str) -> Result<Vec<Value>> {
    let (initramfs, log) =
        (folder.join(format!("{}-stress.cpio", kernel.series)), folder.join(format!("{}-stress.log", kernel.series)));
    base.write(kernel, &initramfs)?;
    let machine =
        Machine { kernel, initramfs: &initramfs, megabytes: 2048, words: &[word], deadline: LONGEST, log: &log };
    let said = qemu.run(&machine)?;
    if let Some(error) = said.iter().find_map(|it| it["error"].as_str()) {
        bail!("Linux {}: the machine is not as it should be: {error}", kernel.release);
    }
    let ended = said.iter().any(|it| it["done"] == true);
    ended
        .then_some(said)
        .with_context(|| format!("Linux {}: it did not come to its end: see {}", kernel.release, log.display()))
}

/// The line in which a scenario sums up, or all it said if it failed.
fn print(told: &Value) {
    let output = told["output"].as_str().unwrap_or_default();
    match output.lines().find(|line| line.contains("past TCP")) {
        Some(line) if told["passed"] == true => println!("  {line}"),
        _ => println!("  {} FAILED:\n{output}", told["scenario"].as_str().unwrap_or_default()),
    }
}

const LONGEST: Duration = Duration::from_secs(7200);
