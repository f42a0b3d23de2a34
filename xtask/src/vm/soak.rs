//! `cargo xtask vm --soak`: 10,000 connections at once through one pod's outbound path.
//!
//! The agent has two descriptors for each connection, and a machine may give a process fewer than that takes. In a machine of
//! our own the limit is ours. Emulated, it is slow: how many connections a second come and go is asked natively, by
//! `soak_in_full`.

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::vm::{
    initramfs::Base,
    kernel::Kernel,
    qemu::{Machine, Qemu},
};

pub(crate) fn run(qemu: &Qemu, kernel: &Kernel, base: &Base, folder: &Path) -> Result<ExitCode> {
    let (initramfs, log) = (folder.join("soak.cpio"), folder.join("soak.log"));
    base.write(kernel, &initramfs)?;
    let started = Instant::now();
    let words = &["run=soak:soak::soak_held"][..];
    let machine = Machine { kernel, initramfs: &initramfs, megabytes: 2048, words, deadline: LONGEST, log: &log };
    let said = qemu.run(&machine)?;
    if let Some(error) = said.iter().find_map(|it| it["error"].as_str()) {
        bail!("the machine is not as it should be: {error}");
    }
    let told = said.iter().find(|it| it["scenario"].is_string());
    let told = told.with_context(|| format!("the machine ended before the test did: see {}", log.display()))?;
    println!(
        "Linux {}, {} s:\n{}",
        kernel.release,
        started.elapsed().as_secs(),
        told["output"].as_str().unwrap_or_default()
    );
    let passed = told["passed"] == true;
    println!("10,000 connections held: {}", if passed { "ok" } else { "FAILED" });
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

const LONGEST: Duration = Duration::from_secs(1500);
