//! What a machine said, judged, and put into tables.
//!
//! A kernel older than the mesh is made for may lack what the programs need; then a scenario that fails is "not here", with
//! the agent's own words for what is missing. On any other kernel whatever does not pass has failed. A test that skipped
//! itself has proved nothing, so it never counts as passed.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::vm::kernel::{Kernel, Series};

/// One kernel's row.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) series: Series,
    pub(crate) release: String,
    pub(crate) programs: Vec<Program>,
    pub(crate) scenarios: Vec<Scenario>,
}

/// What became of a program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) loaded: Loaded,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Loaded {
    /// With so many instructions verified, if this kernel tells.
    Yes(Option<u32>),
    /// What the kernel or its verifier said.
    No(String),
}

#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Pass,
    Fail(String),
    NotHere(String),
}

impl Report {
    pub(crate) fn new(kernel: &Kernel, said: &[Value]) -> Result<Self> {
        if let Some(error) = said.iter().find_map(|it| it["error"].as_str()) {
            bail!("the machine is not as it should be: {error}");
        }
        if said.iter().all(|it| it["done"] != true) {
            bail!("the machine did not get to its end in time");
        }
        let list = |key: &str| said.iter().find_map(|it| it[key].as_array());
        let programs = programs(list("findings").context("the machine did not get as far as checking the kernel")?)?;
        let missing = programs.iter().find_map(|program| match &program.loaded {
            Loaded::No(why) if kernel.series < OLDEST => Some(format!("{}: {why}", program.name)),
            _ => None,
        });
        // Not there if only the programs were asked for: what breaks off on the way is an error, or has no end.
        let names = list("listed").map_or(&[][..], Vec::as_slice);
        let judge = |name: &Value| {
            let told = said.iter().find(|it| it["scenario"] == *name);
            Scenario { name: name.as_str().unwrap_or_default().to_owned(), outcome: outcome(told, missing.as_deref()) }
        };
        let scenarios = names.iter().map(judge).collect();
        Ok(Self { series: kernel.series, release: kernel.release.clone(), programs, scenarios })
    }

    /// Whether everything is as it should be on this kernel.
    pub(crate) fn is_good(&self) -> bool {
        let loads = |program: &Program| match program.loaded {
            Loaded::Yes(count) => count.is_none_or(|count| count <= MOST_VERIFIED),
            Loaded::No(_) => self.series < OLDEST,
        };
        self.programs.iter().all(loads) && self.scenarios.iter().all(|it| !matches!(it.outcome, Outcome::Fail(_)))
    }

    pub(crate) fn summary(&self) -> String {
        let loaded = self.programs.iter().filter(|program| matches!(program.loaded, Loaded::Yes(_))).count();
        let count = |wanted: fn(&Outcome) -> bool| self.scenarios.iter().filter(|it| wanted(&it.outcome)).count();
        format!(
            "Linux {}: {loaded} of {} programs load, {} scenarios pass, {} fail, {} not here",
            self.release,
            self.programs.len(),
            count(|it| matches!(it, Outcome::Pass)),
            count(|it| matches!(it, Outcome::Fail(_))),
            count(|it| matches!(it, Outcome::NotHere(_))),
        )
    }

    /// Whatever failed, with its last words.
    pub(crate) fn troubles(&self) -> String {
        let mut text = String::new();
        for Program { name, loaded } in &self.programs {
            let _ = match loaded {
                Loaded::No(why) => writeln!(text, "  {name} does not load: {why}"),
                Loaded::Yes(Some(count)) if *count > MOST_VERIFIED => {
                    writeln!(text, "  {name} takes {count} verified instructions, {MOST_VERIFIED} are allowed")
                }
                Loaded::Yes(_) => Ok(()),
            };
        }
        for Scenario { name, outcome } in &self.scenarios {
            if let Outcome::Fail(why) = outcome {
                let _ = writeln!(text, "  {name} failed: {}", why.replace('\n', "\n    "));
            }
        }
        text
    }
}

/// The agent's findings about its programs.
fn programs(findings: &[Value]) -> Result<Vec<Program>> {
    let each = findings.iter().filter_map(|it| Some((it["name"].as_str()?.strip_prefix("program ")?, it)));
    let programs: Vec<_> = each
        .filter(|(name, _)| !name.starts_with("type "))
        .map(|(name, finding)| {
            let detail = finding["detail"].as_str().unwrap_or_default();
            let count = detail.split(' ').find_map(|word| word.parse().ok());
            let loaded = if finding["status"] == "have" { Loaded::Yes(count) } else { Loaded::No(detail.to_owned()) };
            Program { name: name.to_owned(), loaded }
        })
        .collect();
    if programs.is_empty() {
        bail!("the agent found no program of its own: {}", Value::from(findings.to_vec()));
    }
    Ok(programs)
}

fn outcome(told: Option<&Value>, missing: Option<&str>) -> Outcome {
    let Some(told) = told else { return Outcome::Fail("the machine ended before it".to_owned()) };
    let output = told["output"].as_str().unwrap_or_default();
    if told["passed"] == true {
        let skipped = output.lines().find_map(|line| line.split_once("skipped: "));
        return skipped.map_or(Outcome::Pass, |(_, why)| Outcome::NotHere(why.trim().to_owned()));
    }
    match missing {
        Some(why) => Outcome::NotHere(why.to_owned()),
        None if told["hung"] == true => Outcome::Fail(format!("did not end\n{}", last_words(output))),
        None => Outcome::Fail(last_words(output)),
    }
}

fn last_words(output: &str) -> String {
    let noise = ["running 1 test", "failures:", "test result:", "note: run with"];
    let lines = output.lines().map(str::trim_end);
    let kept: Vec<_> = lines.filter(|line| !line.is_empty() && !noise.iter().any(|it| line.starts_with(it))).collect();
    kept[kept.len().saturating_sub(12)..].join("\n")
}

/// Kernels by programs: how many instructions were verified.
pub(crate) fn table(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports {
        let cells: Vec<_> =
            report.programs.iter().map(|program| format!("{} {}", program.name, cell(&program.loaded))).collect();
        let _ = writeln!(text, "{:5} {}", report.series.to_string(), cells.join("  "));
    }
    text
}

fn cell(loaded: &Loaded) -> String {
    match loaded {
        Loaded::Yes(Some(count)) => count.to_string(),
        Loaded::Yes(None) => "loads".to_owned(),
        Loaded::No(_) => "no".to_owned(),
    }
}

/// The agent's own: before it, pods cannot be told apart in every hook.
const OLDEST: Series = Series(5, 15);

/// A quarter of what the kernel allows: what the next kernel's verifier walks twice still loads.
const MOST_VERIFIED: u32 = 250_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(series: Series, status: &str, detail: &str, told: Value) -> Result<Report> {
        let kernel = Kernel { series, release: series.to_string(), image: "".into(), modules: "".into() };
        let finding = json!({ "name": "program connect4", "status": status, "detail": detail });
        let said = [json!({ "findings": [finding] }), json!({ "listed": ["a"] }), told, json!({ "done": true })];
        Report::new(&kernel, &said)
    }

    fn told(passed: bool, output: &str) -> Value {
        json!({ "scenario": "a", "passed": passed, "hung": false, "output": output })
    }

    #[test]
    fn a_failure_is_excused_on_kernels_older_than_the_mesh_only() {
        let of = |series| report(series, "missing", "unknown func", told(false, "Error: no program")).unwrap();
        assert_eq!(of(Series(5, 10)).scenarios[0].outcome, Outcome::NotHere("connect4: unknown func".to_owned()));
        assert!(of(Series(5, 10)).is_good());
        assert_eq!(of(Series(6, 1)).scenarios[0].outcome, Outcome::Fail("Error: no program".to_owned()));
        assert!(!of(Series(6, 1)).is_good());
    }

    #[test]
    fn what_skips_itself_or_is_never_told_of_has_not_passed() {
        let of = |told| report(Series(6, 1), "have", "verified, 7 instructions", told).unwrap();
        assert_eq!(of(told(true, "skipped: no MPTCP")).scenarios[0].outcome, Outcome::NotHere("no MPTCP".to_owned()));
        assert_eq!(of(told(true, "fine")).scenarios[0].outcome, Outcome::Pass);
        assert!(!of(json!({})).is_good());
    }

    #[test]
    fn a_program_has_a_budget() {
        let of = |detail| report(Series(6, 1), "have", detail, told(true, "")).unwrap();
        assert!(of("verified, 250000 instructions").is_good());
        assert!(!of("verified, 250001 instructions").is_good() && of("verified").is_good());
    }

    #[test]
    fn a_machine_that_did_not_end_proves_nothing() {
        let kernel = Kernel { series: Series(6, 1), release: String::new(), image: "".into(), modules: "".into() };
        assert!(Report::new(&kernel, &[json!({ "findings": [] })]).is_err());
    }
}
