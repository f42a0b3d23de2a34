//! What the matrix last said: `docs/kernels.json`, and `docs/kernels.md`, which is made of it.
//!
//! A run with `--write` puts what it saw in place of what stood there, kernel by kernel and scenario by scenario, so whoever
//! adds a scenario need not run all the others. The figures are the measure of the next run: a program that takes a fifth more
//! of the verifier's instructions than it took is a decision, and is written down or undone.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{
    vm::{
        kernel::Series,
        page,
        report::{Loaded, Outcome, Report},
    },
    workspace,
};

/// All kernels, old to new.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record(pub(crate) Vec<Row>);

/// One kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) series: String,
    pub(crate) release: String,
    /// Verified instructions, `loads` where the kernel does not tell, or why not.
    pub(crate) programs: BTreeMap<String, String>,
    /// `pass`, or why not.
    pub(crate) scenarios: BTreeMap<String, String>,
}

impl Row {
    pub(crate) fn new(report: &Report) -> Self {
        let programs = report.programs.iter().map(|program| {
            let word = match &program.loaded {
                Loaded::Yes(Some(count)) => count.to_string(),
                Loaded::Yes(None) => "loads".to_owned(),
                Loaded::No(why) => format!("fail: {why}"),
                Loaded::NotHere(why) => format!("not here: {why}"),
            };
            (program.name.clone(), word)
        });
        let scenarios = report.scenarios.iter().map(|scenario| {
            let word = match &scenario.outcome {
                Outcome::Pass => "pass".to_owned(),
                Outcome::Fail(_) => "fail".to_owned(),
                Outcome::NotHere(why) => format!("not here: {why}"),
            };
            (scenario.name.clone(), word)
        });
        Self {
            series: report.series.to_string(),
            release: report.release.clone(),
            programs: programs.collect(),
            scenarios: scenarios.collect(),
        }
    }
}

impl Record {
    /// As it is in the checkout; nothing, if there is none yet.
    pub(crate) fn read() -> Result<Self> {
        let path = data();
        let text = if path.exists() { fs::read_to_string(&path)? } else { "[]".to_owned() };
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        Ok(serde_json::from_str(text)?)
    }

    /// Puts data and page into the checkout.
    pub(crate) fn write(&self) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(data(), text).context("docs/kernels.json")?;
        fs::write(workspace::root().join(PAGE), self.page()).context(PAGE)
    }

    /// What `docs/kernels.md` has to be.
    pub(crate) fn page(&self) -> String {
        page::of(self)
    }

    /// Without the kernels that have no report.
    pub(crate) fn only(mut self, reports: &[Report]) -> Self {
        self.0.retain(|row| reports.iter().any(|report| report.series.to_string() == row.series));
        self
    }

    /// Takes over what was seen. A scenario that was not run, and that there still is, stays as it was.
    pub(crate) fn update(&mut self, report: &Report) {
        let mut row = Row::new(report);
        let old = self.0.iter().position(|it| it.series == row.series).map(|at| self.0.remove(at));
        for (name, word) in old.into_iter().flat_map(|old| old.scenarios) {
            if report.existing.as_ref().is_none_or(|names| names.contains(&name)) {
                row.scenarios.entry(name).or_insert(word);
            }
        }
        self.0.push(row);
        self.0.sort_by_key(|row| Series::parse(&row.series));
    }

    /// Programs that take much more of the verifier's instructions than they took.
    pub(crate) fn growth(&self, report: &Report) -> Vec<String> {
        let new = Row::new(report);
        let Some(old) = self.0.iter().find(|row| row.series == new.series) else { return Vec::new() };
        let count = |row: &Row, name: &String| row.programs.get(name)?.parse::<u32>().ok();
        let grown = new.programs.keys().filter_map(|name| {
            let (before, now) = (count(old, name)?, count(&new, name)?);
            let is_much = u64::from(now) * 100 > u64::from(before) * (100 + GROWTH_PERCENT);
            is_much.then(|| {
                format!(
                    "{name} takes {now} verified instructions on {}, it was {before}: over {GROWTH_PERCENT} % more",
                    new.series
                )
            })
        });
        grown.collect()
    }
}

fn data() -> PathBuf {
    workspace::root().join(DATA)
}

pub(crate) const DATA: &str = "docs/kernels.json";
pub(crate) const PAGE: &str = "docs/kernels.md";

const GROWTH_PERCENT: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::report::{Program, Scenario};

    fn report(count: u32, scenarios: &[&str]) -> Report {
        let scenario = |name: &&str| Scenario { name: (*name).to_owned(), outcome: Outcome::Pass };
        Report {
            series: Series(6, 1),
            release: "6.1.0".to_owned(),
            programs: vec![Program { name: "connect4".to_owned(), loaded: Loaded::Yes(Some(count)) }],
            scenarios: scenarios.iter().map(scenario).collect(),
            existing: Some(vec!["a".to_owned(), "b".to_owned()]),
        }
    }

    #[test]
    fn a_fifth_more_is_allowed_and_no_more() {
        let mut record = Record::default();
        assert!(record.growth(&report(1, &[])).is_empty(), "there is nothing to compare with");
        record.update(&report(1000, &[]));
        assert!(record.growth(&report(1200, &[])).is_empty());
        assert_eq!(record.growth(&report(1201, &[])).len(), 1);
    }

    #[test]
    fn what_was_not_run_stays_if_there_still_is_such_a_scenario() {
        let mut record = Record::default();
        record.update(&report(1, &["a", "gone"]));
        record.update(&report(2, &["b"]));
        assert_eq!(record.0.len(), 1);
        assert_eq!(record.0[0].programs["connect4"], "2");
        assert_eq!(record.0[0].scenarios.keys().collect::<Vec<_>>(), ["a", "b"]);
    }
}
