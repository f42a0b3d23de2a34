//! `bench steer`: what steering adds to one connect() of a pod, by a helper that builds pods with the tests' own harness.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{
    bench::{
        Effort,
        cpus::Placement,
        report::{Metric, Report},
    },
    build, process,
    setup::{self, Need},
    workspace,
};

pub(crate) fn run(effort: Effort, report: &mut Report) -> Result<()> {
    ensure!(process::is_root(), "steering takes pods and kernel programs: run it as root");
    setup::ensure(&[Need::World])?;
    build::agent(true)?;
    // The helper only holds a stopwatch to one system call: the debug build does that as well.
    build::agent_and_world()?;

    let placement = Placement::of_this_machine()?;
    let mut helper = Command::new(workspace::debug_program("bench-steer"));
    helper
        .args(["--runs", &effort.runs.to_string()])
        .args(["--client-cpu", &placement.load.to_string(), "--agent-cpu", &placement.proxy.to_string()])
        .env("MESH_AGENT_BIN", workspace::target().join("release/mesh-agent"));
    let output = helper.output().context("cannot run bench-steer")?;
    let (text, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "bench-steer failed:\n{log}");
    for line in text.lines() {
        let (bench, subject, value) = parse(line).with_context(|| format!("bench-steer printed {line:?}"))?;
        report.add(&bench, subject, &[(Metric::P50, value)]);
    }
    Ok(())
}

/// `CASE SUBJECT MICROSECONDS`
fn parse(line: &str) -> Option<(String, &'static str, f64)> {
    let mut words = line.split_whitespace();
    let (case, name) = (words.next()?, words.next()?);
    let subject = SUBJECTS.into_iter().find(|subject| *subject == name)?;
    Some((format!("steer/{case}"), subject, words.next()?.parse().ok()?))
}

const SUBJECTS: [&str; 2] = ["mesh-agent", "no-mesh"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_case_a_subject_and_a_figure() {
        assert_eq!(parse("v6 no-mesh 21.500"), Some(("steer/v6".to_owned(), "no-mesh", 21.5)));
        assert_eq!(parse("v6 something 21.500"), None);
    }
}
