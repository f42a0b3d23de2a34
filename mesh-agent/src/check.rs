//! `mesh-agent check`: what this kernel and host can do for the mesh, as a table or as JSON.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::kernel::probe::{Finding, Status, probe};

/// Probes, prints a table (or JSON) to standard output, and answers 0 for everything there, 1 for degraded, 2 for missing.
#[must_use]
pub fn run(json: bool) -> ExitCode {
    let findings = probe();
    let text = if json { as_json(&findings) } else { as_table(&findings) };
    // Whoever closed the pipe has read enough; the status still tells.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::from(status(&findings))
}

fn status(findings: &[Finding]) -> u8 {
    match findings.iter().map(|finding| finding.status).max() {
        None | Some(Status::Have) => 0,
        Some(Status::Degraded) => 1,
        Some(Status::Missing) => 2,
    }
}

fn as_json(findings: &[Finding]) -> String {
    let mut text = serde_json::to_string_pretty(findings).expect("names and texts are JSON");
    text.push('\n');
    text
}

fn as_table(findings: &[Finding]) -> String {
    let overall = status(findings);
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Finding { name, status, detail } in findings {
        let status = match status {
            Status::Have => "have",
            Status::Degraded => "degraded",
            Status::Missing => "missing",
        };
        let line = format!("{name:width$}  {status:8}  {detail}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push_str(match overall {
        0 => "\nEverything the mesh needs is here.\n",
        1 => "\nThe mesh runs here, but not all of it.\n",
        _ => "\nThe kernel side cannot run here; `mesh-agent run --no-kernel` proxies without it.\n",
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(statuses: &[Status]) -> Vec<Finding> {
        let finding = |&status| Finding { name: "thing".to_owned(), status, detail: "why".to_owned() };
        statuses.iter().map(finding).collect()
    }

    #[test]
    fn the_worst_finding_is_the_status() {
        assert_eq!(status(&findings(&[Status::Have])), 0);
        assert_eq!(status(&findings(&[Status::Degraded, Status::Have])), 1);
        assert_eq!(status(&findings(&[Status::Missing, Status::Degraded])), 2);
    }

    #[test]
    fn both_forms_say_the_same() {
        let findings = findings(&[Status::Degraded]);
        assert!(as_table(&findings).starts_with("thing  degraded  why\n"));
        let json: serde_json::Value = serde_json::from_str(&as_json(&findings)).unwrap();
        assert_eq!(json[0]["status"], "degraded");
    }
}
