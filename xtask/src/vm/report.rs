//! What a machine said, judged, and put into tables.
//!
//! A kernel older than the mesh is made for may lack a helper that programs need: a program refused for that helper, and a
//! scenario that ended with such a refusal, are "not here", with its name. So is a scenario for which the agent could not even
//! ask for a namespace's cookie. Nothing else is excused, there or on any other kernel. A test that skipped itself has proved nothing, so it never counts as passed.

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
    /// All scenarios that there are, run or not; unknown if none was to run.
    pub(crate) existing: Option<Vec<String>>,
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
    /// A helper that this kernel is too old for, and since when there is one.
    NotHere(String),
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
        let findings = list("findings").context("the machine did not get as far as checking the kernel")?;
        let missing = if kernel.series < OLDEST { missing_helpers(findings) } else { Vec::new() };
        let programs = programs(findings, &missing)?;
        // Not there if only the programs were asked for: what breaks off on the way is an error, or has no end.
        let names = list("listed").map_or(&[][..], Vec::as_slice);
        let judge = |name: &Value| {
            let told = said.iter().find(|it| it["scenario"] == *name);
            Scenario { name: name.as_str().unwrap_or_default().to_owned(), outcome: outcome(told, &programs) }
        };
        let scenarios = names.iter().map(judge).collect();
        let existing =
            list("existing").map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        Ok(Self { series: kernel.series, release: kernel.release.clone(), programs, scenarios, existing })
    }

    /// Whether everything is as it should be on this kernel.
    pub(crate) fn is_good(&self) -> bool {
        let loads = |program: &Program| match program.loaded {
            Loaded::Yes(count) => count.is_none_or(|count| count <= MOST_VERIFIED),
            Loaded::No(_) => false,
            Loaded::NotHere(_) => true,
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
                Loaded::NotHere(why) => writeln!(text, "  {name} not here: {why}"),
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

/// Name of each helper that the agent found missing, with all that it says of it.
fn missing_helpers(findings: &[Value]) -> Vec<(String, String)> {
    let missing = findings.iter().filter(|it| it["status"] == "missing");
    let helpers =
        missing.filter_map(|it| Some((it["name"].as_str()?.strip_prefix("helper ")?, it["detail"].as_str()?)));
    let named = helpers.map(|(name, since)| {
        let helper = name.split(' ').next().unwrap_or_default();
        (helper.to_owned(), format!("no {name}: {since}"))
    });
    named.collect()
}

/// The agent's findings about its programs.
fn programs(findings: &[Value], missing: &[(String, String)]) -> Result<Vec<Program>> {
    let each = findings.iter().filter_map(|it| Some((it["name"].as_str()?.strip_prefix("program ")?, it)));
    let programs: Vec<_> = each
        .filter(|(name, _)| !name.starts_with("type "))
        .map(|(name, finding)| {
            let detail = finding["detail"].as_str().unwrap_or_default();
            let count = detail.split(' ').find_map(|word| word.parse().ok());
            let excuse = missing.iter().find(|(helper, _)| detail.contains(&format!("unknown func {helper}#")));
            let loaded = match excuse {
                _ if finding["status"] == "have" => Loaded::Yes(count),
                Some((_, why)) => Loaded::NotHere(why.clone()),
                None => Loaded::No(detail.to_owned()),
            };
            Program { name: name.to_owned(), loaded }
        })
        .collect();
    if programs.is_empty() {
        bail!("the agent found no program of its own: {}", Value::from(findings.to_vec()));
    }
    Ok(programs)
}

fn outcome(told: Option<&Value>, programs: &[Program]) -> Outcome {
    let Some(told) = told else { return Outcome::Fail("the machine ended before it".to_owned()) };
    let output = told["output"].as_str().unwrap_or_default();
    if told["passed"] == true {
        let skipped = output.lines().find_map(|line| line.split_once("skipped: "));
        return skipped.map_or(Outcome::Pass, |(_, why)| Outcome::NotHere(why.trim().to_owned()));
    }
    // Before any program is loaded, the agent asks for the cookie that the helper would tell the programs.
    let no_cookie = output.contains(NO_COOKIE);
    let excuse = programs.iter().find_map(|Program { name, loaded }| match loaded {
        Loaded::NotHere(why) if no_cookie => Some(format!("no SO_NETNS_COOKIE: Linux 5.14 or newer; {why}")),
        Loaded::NotHere(why) if output.contains(&format!("refuses program {name};")) => Some(why.clone()),
        _ => None,
    });
    match excuse {
        Some(why) => Outcome::NotHere(why),
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

/// The agent's own: before it, pods cannot be told apart in every hook.
pub(crate) const OLDEST: Series = Series(5, 15);

/// The agent's words, which has the kernel's error under them.
const NO_COOKIE: &str = "CAP_SYS_ADMIN and Linux 5.14 are needed";

/// A quarter of what the kernel allows: what the next kernel's verifier walks twice still loads.
pub(crate) const MOST_VERIFIED: u32 = 250_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(series: Series, status: &str, detail: &str, told: Value) -> Result<Report> {
        let kernel = kernel(series);
        let finding = json!({ "name": "program connect4", "status": status, "detail": detail });
        let said = [json!({ "findings": [finding] }), json!({ "listed": ["a"] }), told, json!({ "done": true })];
        Report::new(&kernel, &said)
    }

    fn kernel(series: Series) -> Kernel {
        Kernel { series, release: series.to_string(), image: "".into(), modules: "".into() }
    }

    fn told(passed: bool, output: &str) -> Value {
        json!({ "scenario": "a", "passed": passed, "hung": false, "output": output })
    }

    #[test]
    fn only_a_missing_helper_is_an_excuse_and_only_on_kernels_older_than_the_mesh() {
        let helper =
            json!({ "name": "helper bpf_f in sock_ops", "status": "missing", "detail": "Linux 5.15 or newer" });
        let refused = |series, detail: &str, output: &str| {
            let kernel = kernel(series);
            let program = json!({ "name": "program connect4", "status": "missing", "detail": detail });
            let listed = json!({ "listed": ["a"] });
            let said = [json!({ "findings": [helper, program] }), listed, told(false, output), json!({ "done": true })];
            Report::new(&kernel, &said).unwrap()
        };
        let (unknown, words) = ("unknown func bpf_f#122", "Error: the kernel refuses program connect4; see");
        let old = refused(Series(5, 10), unknown, words);
        let why = "no bpf_f in sock_ops: Linux 5.15 or newer".to_owned();
        assert_eq!(old.programs[0].loaded, Loaded::NotHere(why.clone()));
        assert_eq!(old.scenarios[0].outcome, Outcome::NotHere(why));
        assert!(old.is_good());
        let no_cookie = format!("Error: {NO_COOKIE}");
        assert!(refused(Series(5, 10), unknown, &no_cookie).is_good());
        assert!(!refused(Series(6, 1), unknown, &no_cookie).is_good());
        assert!(!refused(Series(5, 10), unknown, "Error: of its own").is_good());
        assert!(!refused(Series(5, 10), "too many instructions", words).is_good());
        assert!(!refused(Series(6, 1), unknown, words).is_good());
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
        assert!(Report::new(&kernel(Series(6, 1)), &[json!({ "findings": [] })]).is_err());
    }
}
