//! `docs/kernels.md` speaks of the programs and scenarios of today.
//!
//! Whether what it says still holds, only a run can tell; that it knows of everything there is can be asked in no time. Where
//! programs alone were tried, there are no scenarios that could be out of date.

use std::collections::BTreeSet;

use mesh_common::names;

use crate::{
    tidy::{Finding, source::Source},
    vm::record::{self, Record},
};

/// Finds programs and scenarios that the record lacks for a kernel, or still has, and a page that is not made of it.
pub(crate) fn page_is_of_today(sources: &[Source], record: &Record) -> Vec<Finding> {
    let Some(page) = sources.iter().find(|source| source.path == record::PAGE) else { return Vec::new() };
    let finding = |advice: String| Finding::new(page, 1, "kernels", advice);
    let mut findings = Vec::new();
    if page.text != record.page() {
        findings.push(finding("is not made of docs/kernels.json: run `cargo xtask vm --write`".to_owned()));
    }
    let programs: BTreeSet<_> = names::PROGRAMS.into_iter().map(str::to_owned).collect();
    let scenarios: BTreeSet<_> = sources.iter().flat_map(scenarios).collect();
    for row in &record.0 {
        let series = &row.series;
        let (known_programs, known_scenarios) = (row.programs.keys().cloned().collect(), row.scenarios.keys().cloned());
        for name in programs.symmetric_difference(&known_programs) {
            let advice =
                format!("program {name} on {series}: run `cargo xtask vm --kernel {series} --programs --write`");
            findings.push(finding(advice));
        }
        // Its programs alone were tried.
        if row.scenarios.is_empty() {
            continue;
        }
        for name in scenarios.symmetric_difference(&known_scenarios.collect()) {
            let advice = format!("scenario {name} on {series}: run `cargo xtask vm --scenario {name} --write`");
            findings.push(finding(advice));
        }
    }
    findings
}

/// The tests of a file of the kernel suite, as the test program names them.
fn scenarios(source: &Source) -> Vec<String> {
    let module = source.path.strip_prefix("tests/kernel/").and_then(|rest| rest.strip_suffix(".rs"));
    let Some(module) = module.map(|path| path.replace('/', "::")) else { return Vec::new() };
    let tests = source.code.split("#[test]").skip(1);
    let names = tests.filter_map(|text| text.split_once("fn ")?.1.split('(').next());
    names.map(|name| format!("{module}::{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_by_their_names() {
        let source = Source::new(
            "tests/kernel/life.rs",
            "fn no() {}\n#[test]\nfn a_b() -> R<()> { \"#[test] fn x(\"; }\n#[test]\n#[ignore = \"slow\"]\nfn c() {}\n",
        );
        assert_eq!(scenarios(&source), ["life::a_b", "life::c"]);
        assert!(scenarios(&Source::new("tests/netns/life.rs", "#[test]\nfn a() {}")).is_empty());
    }

    #[test]
    fn what_is_missing_and_what_is_gone_are_found() {
        let sources =
            |page: &str| [Source::new(record::PAGE, page), Source::new("tests/kernel/life.rs", "#[test]\nfn a() {}\n")];
        let programs: Vec<_> = names::PROGRAMS.iter().map(|name| format!("\"{name}\": \"1\"")).collect();
        let record = |scenario: &str| {
            let row = format!(
                "[{{\"series\": \"6.1\", \"release\": \"6.1\", \"programs\": {{{}}}, \"scenarios\": {{\"{scenario}\": \"pass\"}}}}]",
                programs.join(",")
            );
            Record::parse(&row).unwrap()
        };
        let good = record("life::a");
        assert!(page_is_of_today(&sources(&good.page()), &good).is_empty());
        assert_eq!(page_is_of_today(&sources("old"), &good).len(), 1);
        let gone = record("life::gone");
        let findings = page_is_of_today(&sources(&gone.page()), &gone);
        assert_eq!(findings.len(), 2, "life::a is missing, life::gone is no more: {findings:?}");
    }
}
