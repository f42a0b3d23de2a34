//! `docs/kernels.md`: the record as tables, for who wants to know whether the mesh runs on a kernel.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::vm::{
    record::{Record, Row},
    report::{MOST_VERIFIED, OLDEST},
};

/// The page.
pub(crate) fn of(record: &Record) -> String {
    let mut reasons = Vec::new();
    let mut text = format!(
        "# Kernels\n\nMade by `cargo xtask vm --write`, which runs Debian's kernels in emulated machines; do not edit.\n\
         The mesh is made for Linux {OLDEST} and newer. Figures in `kernels.json` beside this page.\n\n\
         ## Programs\n\nInstructions that the kernel's verifier walked, {MOST_VERIFIED} are allowed; `loads` where a kernel does not tell.\n\n"
    );
    table(&mut text, record, "program", |row| &row.programs, &mut reasons);
    text.push_str("\n## Scenarios\n\n");
    if record.0.iter().all(|row| row.scenarios.is_empty()) {
        text.push_str("Not written down yet: `cargo xtask vm --write` runs them all.\n");
    } else {
        text.push_str("The tests of `tests/kernel`, each by itself.\n\n");
        table(&mut text, record, "scenario", |row| &row.scenarios, &mut reasons);
    }
    if !reasons.is_empty() {
        text.push('\n');
    }
    for (at, why) in reasons.iter().enumerate() {
        let _ = writeln!(text, "{}. {why}", at + 1);
    }
    text
}

type Cells = std::collections::BTreeMap<String, String>;

fn table(text: &mut String, record: &Record, what: &str, cells: fn(&Row) -> &Cells, reasons: &mut Vec<String>) {
    let kernels: Vec<_> = record.0.iter().map(|row| row.release.trim_end_matches("-cloud-amd64")).collect();
    let _ = writeln!(text, "| {what} | {} |", kernels.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(kernels.len()));
    let names: BTreeSet<_> = record.0.iter().flat_map(|row| cells(row).keys()).collect();
    for name in names {
        let words: Vec<_> = record.0.iter().map(|row| short(cells(row).get(name), reasons)).collect();
        let _ = writeln!(text, "| `{name}` | {} |", words.join(" | "));
    }
}

/// The word before a reason, and the reason's number.
fn short(word: Option<&String>, reasons: &mut Vec<String>) -> String {
    let Some(word) = word else { return "not run".to_owned() };
    let Some((kind, why)) = word.split_once(": ") else { return word.clone() };
    let known = reasons.iter().position(|it| it == why);
    let at = known.unwrap_or_else(|| {
        reasons.push(why.to_owned());
        reasons.len() - 1
    });
    format!("{kind} ({})", at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_once() {
        let text = r#"[{ "series": "5.10", "release": "5.10.0-1-cloud-amd64", "programs": { "a": "loads", "b": "not here: no f" },
            "scenarios": { "c": "not here: no f", "d": "pass" } },
            { "series": "6.1", "release": "6.1.0", "programs": { "a": "7", "b": "8" }, "scenarios": { "c": "pass" } }]"#;
        let page = of(&Record::parse(text).unwrap());
        assert!(page.contains(
            "| program | 5.10.0-1 | 6.1.0 |\n|---|---|---|\n| `a` | loads | 7 |\n| `b` | not here (1) | 8 |\n"
        ));
        assert!(page.contains("| `c` | not here (1) | pass |\n| `d` | pass | not run |\n\n1. no f\n"));
        assert_eq!(page.matches("no f").count(), 1);
    }
}
