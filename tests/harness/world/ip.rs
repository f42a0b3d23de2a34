//! `ip -batch`: many changes of the network for the price of one process.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};

/// Lines for one `ip`, to be run inside one namespace.
pub(super) struct Batch {
    netns: Option<String>,
    lines: String,
}

/// An `ip` at work.
pub(super) struct Running {
    child: Child,
    lines: String,
}

impl Batch {
    /// Changes of the host's own namespace, among them the making of others.
    pub(super) fn host() -> Self {
        Self { netns: None, lines: String::new() }
    }

    /// Changes of a named namespace.
    pub(super) fn inside(netns: &str) -> Self {
        Self { netns: Some(netns.to_owned()), lines: String::new() }
    }

    /// Adds one command, without the leading `ip`.
    pub(super) fn line(&mut self, line: impl AsRef<str>) {
        self.lines.push_str(line.as_ref());
        self.lines.push('\n');
    }

    /// Runs it to its end.
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.start()?.finish()
    }

    /// Starts it.
    pub(super) fn start(self) -> anyhow::Result<Running> {
        let mut command = Command::new("ip");
        if let Some(netns) = &self.netns {
            command.args(["-n", netns]);
        }
        // `-force` goes on after an error, so that a removal removes what is there.
        command.args(["-force", "-batch", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().context("ip (package iproute2)")?;
        let mut stdin = child.stdin.take().context("ip's input")?;
        stdin.write_all(self.lines.as_bytes()).context("ip's input")?;
        Ok(Running { child, lines: self.lines })
    }
}

impl Running {
    /// Waits for its end.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        let output = self.child.wait_with_output().context("ip")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ip -batch: {}\n{}", errors.trim(), self.lines.trim());
        Ok(())
    }
}
