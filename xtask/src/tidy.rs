//! `cargo xtask tidy`: the rules of style that a compiler does not know.
//!
//! Each rule is a function from a source (or the whole tree) to findings, so each can be tested by a few lines that break
//! it. Rules read text, not syntax trees: enough for what they ask, and fast enough to run before every commit.

mod arrows;
mod borders;
mod code;
mod docs;
mod kernels;
mod shape;
mod source;

use std::{fmt, process::ExitCode};

use anyhow::Result;

use crate::{tidy::source::Source, vm::record::Record, workspace};

/// A place where a rule is broken, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    rule: &'static str,
    advice: String,
}

impl Finding {
    fn new(source: &Source, line: usize, rule: &'static str, advice: impl Into<String>) -> Self {
        Self { path: source.path.clone(), line, rule, advice: advice.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.advice)
    }
}

pub(crate) fn run() -> Result<ExitCode> {
    let sources = source::all(workspace::root())?;
    let mut findings: Vec<_> = sources.iter().flat_map(|source| RULES.iter().flat_map(|rule| rule(source))).collect();
    findings.extend(docs::dependencies_are_explained(&sources));
    findings.extend(kernels::page_is_of_today(&sources, &Record::read()?));
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} files in order", sources.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!("tidy: {} findings", findings.len());
    Ok(ExitCode::FAILURE)
}

type Rule = fn(&Source) -> Vec<Finding>;

/// Every rule that looks at one file at a time; each leaves alone the files it does not concern.
const RULES: [Rule; 8] = [
    shape::file_is_short,
    shape::file_says_what_it_is_for,
    shape::module_is_named_by_its_file,
    shape::no_glob_reexport,
    shape::open_ends_have_an_issue,
    arrows::modules_follow_the_arrows,
    borders::foreign_crates_stay_home,
    borders::unsafe_stays_where_it_is_allowed,
];
