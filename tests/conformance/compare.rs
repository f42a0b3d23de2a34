//! What differs between two observations, and which differences are known and have a reason.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::case::data_folder;
use crate::observe::{Message, Observed};
use crate::yaml::parse;

/// One entry of `tests/data/differences.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Known {
    /// Why it stays.
    pub(crate) reason: String,
    /// `suite/case` of each case that shows it.
    pub(crate) cases: Vec<String>,
    /// Lines that only Envoy's observation has.
    #[serde(default)]
    pub(crate) envoy: Vec<String>,
    /// Lines that only the agent's has; with `whole`, all that it has.
    #[serde(default)]
    pub(crate) agent: Vec<String>,
    /// The agent does something else altogether. What Envoy does stands in its recording.
    #[serde(default)]
    pub(crate) whole: bool,
}

/// Lines that only one of two observations has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) left: Vec<String>,
    pub(crate) right: Vec<String>,
}

impl Difference {
    pub(crate) fn between(left: &Observed, right: &Observed) -> Self {
        let (mut only_left, mut only_right) = (Vec::new(), lines(right));
        for line in lines(left) {
            match only_right.iter().position(|other| *other == line) {
                Some(at) => drop(only_right.remove(at)),
                None => only_left.push(line),
            }
        }
        Self { left: only_left, right: only_right }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left.is_empty() && self.right.is_empty()
    }

    /// Takes away what a known difference explains. False if it is not there. `agent` is all that the agent did.
    pub(crate) fn explain(&mut self, known: &Known, agent: &Observed) -> bool {
        if known.whole {
            let mut all = lines(agent);
            all.retain(|line| !UNTOLD.contains(&line.as_str()));
            let mut wanted = known.agent.clone();
            all.sort();
            wanted.sort();
            let same = all == wanted && !self.is_empty();
            if same {
                *self = Self::default();
            }
            return same;
        }
        let all = known.envoy.iter().all(|line| self.left.contains(line))
            && known.agent.iter().all(|line| self.right.contains(line));
        if all {
            self.left.retain(|line| !known.envoy.contains(line));
            self.right.retain(|line| !known.agent.contains(line));
        }
        all
    }

    /// For people.
    pub(crate) fn show(&self, left: &str, right: &str) -> String {
        let width = left.len().max(right.len());
        let mut text = String::new();
        for (name, lines) in [(left, &self.left), (right, &self.right)] {
            for line in lines {
                // A control character would disturb the terminal, or look like a line of its own.
                let line = line.replace(|c: char| c.is_control() && c != '\t', "\u{fffd}");
                let _ = writeln!(text, "    {name:width$}  {line}");
            }
        }
        text
    }
}

/// The differences that are known.
pub(crate) fn known() -> Result<Vec<Known>> {
    let text = fs::read_to_string(data_folder().join("differences.yaml")).context("differences.yaml")?;
    parse(&text).context("differences.yaml")
}

/// The page that tells users of them.
pub(crate) fn page_path() -> PathBuf {
    data_folder().join("../../docs/envoy-differences.md")
}

/// What that page must say.
pub(crate) fn page(known: &[Known]) -> String {
    let mut page = PREFACE.to_owned();
    let mut reason = "";
    for entry in known {
        let same = std::mem::replace(&mut reason, entry.reason.trim()) == entry.reason.trim();
        let (title, more) = reason.split_once('\n').unwrap_or((reason, ""));
        if !same {
            let _ = write!(page, "\n## {title}\n\n{more}{}", if more.is_empty() { "" } else { "\n\n" });
        }
        for (name, lines) in [("Envoy", &entry.envoy), ("Bowline", &entry.agent)] {
            if !lines.is_empty() {
                // Told in full in the data; here, headers and addresses would hide the point.
                let telling = |line: &&String| {
                    !entry.whole || [" line: ", " end: ", "after: "].iter().any(|part| line.contains(part))
                };
                let lines: Vec<String> =
                    lines.iter().filter(telling).map(|line| format!("`{}`", line.replace('`', "'"))).collect();
                let _ = writeln!(page, "- {name}: {}", lines.join(", "));
            }
        }
        let cases: Vec<String> = entry.cases.iter().map(|case| format!("`{}`", case.replace('`', "'"))).collect();
        let _ = writeln!(page, "- Cases: {}", cases.join(", "));
    }
    page
}

/// Lines that go without saying where the agent's whole observation is told.
const UNTOLD: [&str; 2] = ["client 1 header date: <date>", "client 1 header server: <proxy>"];

const PREFACE: &str = "# Where Bowline answers otherwise than Envoy

The same configurations and the same requests go to Envoy 1.40 and to `mesh-agent run --no-kernel`
(`cargo test -p mesh-tests --test conformance`). What the client gets and what the upstream gets is compared: start
line, every header, body, trailers, how the message was framed, and whether the connection stays open. The values of
`date`, `x-envoy-upstream-service-time`, generated `x-request-id`s and the default `server` name are not compared, nor
is the order of headers with different names. Nor are addresses of the machine itself at the end of `x-forwarded-for`.

Cases under `xds/` are tests of their own in `tests/xds/beside`, where one management server feeds both.

This page is made from `tests/data/differences.yaml`, and the test fails if a difference is missing there or is gone.
Field by field, what of Envoy's configuration is supported at all is told by `mesh-agent validate`.
";

/// An observation as lines, one fact each.
fn lines(observed: &Observed) -> Vec<String> {
    let mut all = Vec::new();
    if !observed.after.is_empty() {
        all.push(format!("after: {}", observed.after));
    }
    for (side, messages) in [("client", &observed.client), ("upstream", &observed.upstream)] {
        for (at, message) in messages.iter().enumerate() {
            facts(&format!("{side} {}", at + 1), message, &mut all);
        }
    }
    all
}

fn facts(place: &str, message: &Message, all: &mut Vec<String>) {
    let single = [("at", &message.at), ("line", &message.line), ("body", &message.body), ("end", &message.end)];
    for (what, value) in single.into_iter().filter(|(_, value)| !value.is_empty()) {
        all.push(format!("{place} {what}: {value}"));
    }
    all.extend(message.headers.iter().map(|line| format!("{place} header {line}")));
    all.extend(message.trailers.iter().map(|line| format!("{place} trailer {line}")));
}
