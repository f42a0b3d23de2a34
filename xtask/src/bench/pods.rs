//! Benchmarks between pods (`steer`, `rtt`, `connect`): run by a helper that is built on the tests' own harness, and prints its
//! figures. So are others that take the harness.

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

/// Runs `bench` of the helper, and adds what it prints.
pub(crate) fn run(bench: &'static str, effort: Effort, report: &mut Report) -> Result<()> {
    ensure!(process::is_root(), "pods and kernel programs take root");
    setup::ensure(&[Need::World])?;
    build::agent(true)?;
    let placement = Placement::of_this_machine()?;
    build::agent_and_world()?;
    add(&printed(helper(bench).args(common(effort, placement)))?, bench, report)
}

/// What every benchmark of the helper is told.
pub(crate) fn common(effort: Effort, placement: Placement) -> [String; 6] {
    let Placement { proxy, load, .. } = placement;
    ["--runs", &effort.runs.to_string(), "--client-cpu", &load.to_string(), "--agent-cpu", &proxy.to_string()]
        .map(str::to_owned)
}

/// Adds what the helper printed.
pub(crate) fn add(text: &str, bench: &str, report: &mut Report) -> Result<()> {
    for line in text.lines() {
        let figure = Figure::parse(line).with_context(|| format!("the helper printed {line:?}"))?;
        report.add(&format!("{bench}/{}", figure.case), figure.subject, &[(figure.metric, figure.value)]);
    }
    Ok(())
}

/// The helper, which has been built. It only holds a stopwatch to system calls: the debug build does that as well.
pub(crate) fn helper(bench: &str) -> Command {
    let mut helper = Command::new(workspace::debug_program("bench-pods"));
    helper.arg(bench).env("MESH_AGENT_BIN", workspace::target().join("release/mesh-agent"));
    helper
}

/// What the helper printed; its log if it failed.
pub(crate) fn printed(helper: &mut Command) -> Result<String> {
    let output = helper.output().context("cannot run bench-pods")?;
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "bench-pods failed:\n{log}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A line `CASE SUBJECT METRIC VALUE`.
#[derive(Debug, PartialEq)]
struct Figure<'a> {
    case: &'a str,
    subject: &'static str,
    metric: Metric,
    value: f64,
}

impl<'a> Figure<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let case = words.next()?;
        let name = words.next()?;
        let subject = SUBJECTS.into_iter().find(|subject| *subject == name)?;
        let metric = Metric::named(words.next()?)?;
        Some(Self { case, subject, metric, value: words.next()?.parse().ok()? })
    }
}

const SUBJECTS: [&str; 12] = [
    "mesh-agent",
    "envoy",
    "no-mesh",
    "mesh",
    "iptables",
    "veth",
    "t1",
    "t1-accelerated",
    "t2",
    "t2-accelerated",
    "t3",
    "t3-accelerated",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_case_a_subject_a_metric_and_a_value() {
        let figure = Figure { case: "v6", subject: "no-mesh", metric: Metric::P50, value: 21.5 };
        assert_eq!(Figure::parse("v6 no-mesh p50_us 21.500"), Some(figure));
        assert_eq!(Figure::parse("v6 something p50_us 21.500"), None);
        assert_eq!(Figure::parse("v6 no-mesh 21.500"), None);
    }
}
