//! `cargo xtask test`: every suite there is, and one line at the end that counts them all.
//!
//! Suites that make pods need root. What cannot run here is named and counted as skipped rather than left out in
//! silence.

mod count;
mod suite;

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result};

use crate::{
    build, process,
    setup::{self, Need, peers},
    test::{
        count::Count,
        suite::{Selection, Suite},
    },
    workspace,
};

/// Which tests to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A suite (a file of tests/), or a part of a test's name; all tests if absent
    name: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::ensure(&[Need::Build])?;
    let suites = suite::all()?;
    let selection = Selection::new(args.name.as_deref(), &suites);
    let (runnable, skipped): (Vec<_>, Vec<_>) = suites
        .iter()
        .filter(|suite| selection.has(suite))
        .map(|suite| (suite, obstacle(suite)))
        .partition(|it| it.1.is_none());
    if runnable.iter().any(|(suite, _)| suite.compares_with_envoy)
        && let Err(error) = setup::ensure(&[Need::Envoy])
    {
        println!("no Envoy here, its recorded answers are compared with: {error:#}");
    }
    build::agent_and_world()?;
    if selection.is_stress() {
        build::agent(true)?;
    }

    let mut count = Count::default();
    for arguments in selection.invocations(&runnable.iter().map(|it| it.0).collect::<Vec<_>>()) {
        count += cargo_test(&arguments, &selection)?;
    }
    // A part of a test's name means none of the demo's checks.
    if selection.filter().is_none() && runnable.iter().any(|(suite, _)| suite.is_demo()) {
        count += demo()?;
    }
    for (suite, obstacle) in skipped {
        println!("skipped: {}: {}", suite.name, obstacle.unwrap_or_default());
        count.skipped += 1;
    }
    println!("{count}");
    Ok(if count.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What each of the six scenarios does when the suite is asked for by its name: two hundred thousand connections and fifty
/// gigabytes in all.
pub(crate) const STRESS: [(&str, u64); 2] = [("MESH_STRESS_CONNECTIONS", 34_000), ("MESH_STRESS_MEGABYTES", 8_600)];

/// Why `suite` cannot run here, after trying to get what it needs.
fn obstacle(suite: &Suite) -> Option<String> {
    if suite.needs_root && !process::is_root() {
        return Some("makes network namespaces, which takes root".to_owned());
    }
    if suite.needs_root
        && let Err(error) = setup::ensure(&[Need::World])
    {
        return Some(format!("{error:#}"));
    }
    None
}

/// The demo, driven and checked by itself: one test, as it ends in one line.
fn demo() -> Result<Count> {
    println!("\ndemo --check");
    let mut demo = Command::new(workspace::debug_program("demo"));
    let passed =
        process::status(demo.arg("--check").env("MESH_AGENT_BIN", workspace::debug_program("mesh-agent")))?.success();
    Ok(Count { passed: u64::from(passed), failed: u64::from(!passed), skipped: 0 })
}

/// Runs cargo test, showing its output as it comes.
fn cargo_test(arguments: &[String], selection: &Selection) -> Result<Count> {
    let mut command = workspace::cargo();
    command.args(["test", "--no-fail-fast"]).args(arguments);
    if let Some(filter) = selection.filter() {
        command.args(["--", filter]);
    }
    command.env("MESH_AGENT_BIN", workspace::debug_program("mesh-agent")).stdout(Stdio::piped());
    if selection.is_stress() {
        command.env("MESH_AGENT_BIN", workspace::target().join("release/mesh-agent"));
        for (name, value) in STRESS.iter().filter(|(name, _)| env::var_os(name).is_none()) {
            command.env(name, value.to_string());
        }
    }
    if peers::is_installed() {
        command.env("MESH_ENVOY", peers::envoy());
    }
    read_through(&mut command)
}

fn read_through(command: &mut Command) -> Result<Count> {
    let mut child = command.spawn().context("cannot run cargo test")?;
    let mut count = Count::default();
    let output = child.stdout.take().context("its output is a pipe")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        count += Count::of_line(&line);
    }
    let status = child.wait()?;
    if !status.success() && count.failed == 0 {
        // It did not compile, or a test took its whole process down: no result line tells of it.
        println!("a test program did not finish ({status})");
        count.failed = 1;
    }
    Ok(count)
}
