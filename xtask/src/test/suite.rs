//! Which suites there are, and which of them a name on the command line means.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};

use crate::workspace;

/// A test program of package mesh-tests, which is a file of tests/, or the demo, which checks itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suite {
    pub(crate) name: String,
    pub(crate) needs_root: bool,
    pub(crate) compares_with_envoy: bool,
}

impl Suite {
    /// Whether it is the demo.
    pub(crate) fn is_demo(&self) -> bool {
        self.name == DEMO
    }

    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            needs_root: !WITHOUT_ROOT.contains(&name),
            compares_with_envoy: name == CONFORMANCE,
        }
    }
}

/// All suites, by name. A new file of tests/ needs no entry here.
pub(crate) fn all() -> Result<Vec<Suite>> {
    let folder = workspace::root().join("tests");
    let mut names = BTreeSet::from([DEMO.to_owned()]);
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "rs")
            && let Some(stem) = path.file_stem().and_then(|it| it.to_str())
        {
            names.insert(stem.to_owned());
        }
    }
    Ok(names.iter().map(|name| Suite::new(name)).collect())
}

/// What of all tests is meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    All,
    Suite(String),
    /// Tests with this in their name, wherever they are.
    Filter(String),
}

impl Selection {
    /// Whether the stress suite is asked for by its name.
    pub(crate) fn is_stress(&self) -> bool {
        matches!(self, Self::Suite(name) if name == STRESS)
    }

    pub(crate) fn new(name: Option<&str>, suites: &[Suite]) -> Self {
        match name {
            None => Self::All,
            Some(name) if suites.iter().any(|suite| suite.name == name) => Self::Suite(name.to_owned()),
            Some(name) => Self::Filter(name.to_owned()),
        }
    }

    pub(crate) fn has(&self, suite: &Suite) -> bool {
        !matches!(self, Self::Suite(name) if *name != suite.name)
    }

    pub(crate) fn filter(&self) -> Option<&str> {
        match self {
            Self::Filter(filter) => Some(filter),
            _ => None,
        }
    }

    /// The arguments of each cargo run: cargo takes documentation tests only alone.
    pub(crate) fn invocations(&self, suites: &[&Suite]) -> Vec<Vec<String>> {
        let programs = suites.iter().filter(|suite| !suite.is_demo());
        let mut programs: Vec<_> = programs.flat_map(|suite| ["--test".to_owned(), suite.name.clone()]).collect();
        if matches!(self, Self::Suite(_)) {
            return if programs.is_empty() { Vec::new() } else { vec![programs] };
        }
        programs.splice(0..0, ["--lib".to_owned(), "--bins".to_owned()]);
        vec![programs, vec!["--doc".to_owned()]]
    }
}

/// Suites that run in this process's own network.
const WITHOUT_ROOT: [&str; 3] = ["direct", "deploy", CONFORMANCE];

const STRESS: &str = "stress";
const CONFORMANCE: &str = "conformance";

const DEMO: &str = "demo";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_suite_if_there_is_one_and_a_filter_if_not() {
        let suites = [Suite::new("direct"), Suite::new("netns")];
        let both: Vec<_> = suites.iter().collect();
        let netns = Selection::new(Some("netns"), &suites);
        assert!(netns.has(&suites[1]) && !netns.has(&suites[0]));
        assert_eq!(netns.invocations(&both[1..]), [["--test", "netns"]]);

        let filter = Selection::new(Some("obs_fold"), &suites);
        assert_eq!(filter.filter(), Some("obs_fold"));
        assert_eq!(
            filter.invocations(&both),
            [vec!["--lib", "--bins", "--test", "direct", "--test", "netns"], vec!["--doc"]]
        );
        assert_eq!(Selection::new(None, &suites).filter(), None);
    }

    #[test]
    fn the_demo_is_no_program_of_cargo_test() {
        let demo = Suite::new("demo");
        let selection = Selection::new(Some("demo"), std::slice::from_ref(&demo));
        assert!(demo.needs_root && selection.has(&demo) && selection.invocations(&[&demo]).is_empty());
    }

    #[test]
    fn only_suites_known_to_be_plain_run_without_root() {
        assert!(!Suite::new("direct").needs_root);
        assert!(Suite::new("netns").needs_root && Suite::new("made_tomorrow").needs_root);
    }
}
