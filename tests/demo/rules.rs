//! Packet filter rules: the mesh works without any, and the demo proves it.

use std::process::Command;

use anyhow::{Context, ensure};
use harness::world::World;

/// What every packet filter of one network namespace holds, without comments and counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules(Vec<String>);

impl Rules {
    /// The host's.
    pub(crate) fn host() -> anyhow::Result<Self> {
        Self::read(&[])
    }

    fn read(inside: &[&str]) -> anyhow::Result<Self> {
        let mut rules = Vec::new();
        for question in QUESTIONS {
            let words = [inside, question].concat();
            let output = Command::new(words[0]).args(&words[1..]).output();
            let output = output.with_context(|| format!("{} (packages iptables and nftables)", question[0]))?;
            let error = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{}: {}", words.join(" "), error.trim());
            let text = String::from_utf8_lossy(&output.stdout);
            rules.extend(text.lines().filter(|line| is_rule(line)).map(|line| format!("{}: {line}", question[0])));
        }
        Ok(Self(rules))
    }

    /// That the host's are as they were before, and that the pods have none.
    pub(crate) fn check(before: &Self, world: &World) -> anyhow::Result<()> {
        let now = Self::host()?;
        ensure!(now == *before, "packet filter rules of the host changed from {:#?} to {:#?}", before.0, now.0);
        for pod in world.pods() {
            let Self(rules) = Self::read(&["ip", "netns", "exec", pod.netns()])?;
            ensure!(rules.is_empty(), "packet filter rules in pod {}: {rules:#?}", pod.name());
        }
        Ok(())
    }
}

/// Comments have the time in them, chains (`:INPUT ACCEPT [0:0]`) have counters.
fn is_rule(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#') && !line.starts_with(':')
}

const QUESTIONS: [&[&str]; 3] = [&["iptables-save"], &["ip6tables-save"], &["nft", "list", "ruleset"]];
