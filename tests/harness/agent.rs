//! The real `mesh-agent run`, as a child process.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::admin::Admin;
use crate::binaries;
use crate::process::{Output, Process, Signal};
use crate::scratch::Scratch;

/// How an agent is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    prefix: Vec<String>,
}

/// Removes what an agent that has ended left in the kernel, by `mesh-agent uninstall`.
///
/// # Errors
/// If there is no such program.
pub fn uninstall(pin_path: &Path) -> anyhow::Result<Output> {
    let mut command = Command::new(binaries::agent()?);
    command.arg("uninstall").arg("--pin-path").arg(pin_path);
    Process::spawn("mesh-agent uninstall", command)?.output(Duration::from_secs(10))
}

/// An agent that is ready. Killed on drop.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    admin: Admin,
    // Holds the configuration and the socket.
    _scratch: Scratch,
}

impl Options {
    /// With kernel programs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Without kernel programs: only listeners that are bound.
    #[must_use]
    pub fn no_kernel() -> Self {
        Self::new().arg("--no-kernel").arg("--workers").arg("2")
    }

    /// One more argument of `mesh-agent run`.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// One more variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A command that runs the agent's command line, such as `setpriv`. Of several, the last is the outermost.
    #[must_use]
    pub fn under(mut self, command: &[&str]) -> Self {
        self.prefix.splice(0..0, command.iter().map(|&word| word.to_owned()));
        self
    }

    /// In this cgroup, which is made for it.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn inside(self, cgroup: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(cgroup).with_context(|| format!("cgroup {}", cgroup.display()))?;
        let join = format!("echo 0 >'{}/cgroup.procs' && exec \"$0\" \"$@\"", cgroup.display());
        Ok(self.under(&["sh", "-c", &join]))
    }

    /// Starts an agent with this configuration and waits until it is ready.
    ///
    /// # Errors
    /// If it ends or isn't ready within a minute, which an emulated machine may need; with its log.
    pub fn start(&self, config: impl std::fmt::Display) -> anyhow::Result<Agent> {
        let mut agent = self.begin(config)?;
        let deadline = Instant::now() + Duration::from_secs(60);
        while !agent.admin.is_ready() {
            if !agent.is_running() || Instant::now() > deadline {
                agent.kill();
                let output = agent.process.output(Duration::from_secs(1));
                bail!("mesh-agent did not become ready: {}", output.map_or_else(|e| e.to_string(), |o| o.text()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(agent)
    }

    /// Starts an agent and waits for nothing.
    ///
    /// # Errors
    /// If there is no such program.
    pub fn begin(&self, config: impl std::fmt::Display) -> anyhow::Result<Agent> {
        let (process, admin, scratch) = self.launch(&config.to_string())?;
        Ok(Agent { process, admin, _scratch: scratch })
    }

    /// Starts an agent that is expected to refuse, and returns what it said.
    ///
    /// # Errors
    /// If it still runs after 10 s.
    pub fn refuse(&self, config: impl std::fmt::Display) -> anyhow::Result<Output> {
        let (process, _, _scratch) = self.launch(&config.to_string())?;
        process.output(Duration::from_secs(10))
    }

    fn launch(&self, config: &str) -> anyhow::Result<(Process, Admin, Scratch)> {
        let scratch = Scratch::new()?;
        let socket = scratch.path().join("admin.sock");
        let config = scratch.write("config.yaml", config)?;
        let agent = binaries::agent()?;
        let mut command = match self.prefix.split_first() {
            None => Command::new(agent),
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(agent);
                command
            }
        };
        command.arg("run").arg("--config").arg(config).arg("--admin-socket").arg(&socket).args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok((Process::spawn("mesh-agent", command)?, Admin::new(socket), scratch))
    }
}

impl Agent {
    /// Its admin interface.
    #[must_use]
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.lines().join("\n")
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Sends SIGTERM: it is to drain and end.
    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Kills it, as the kernel would when memory runs out.
    pub fn kill(&self) {
        self.process.signal(Signal::KILL);
    }

    /// Stops it without ending it, as a debugger would, or goes on with it.
    pub fn pause(&self, paused: bool) {
        self.process.signal(if paused { Signal::STOP } else { Signal::CONT });
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it doesn't end in time.
    pub fn wait(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        self.process.wait(within)
    }

    /// Ends it in order, if it still runs, and checks its status.
    ///
    /// # Errors
    /// If it takes more than 10 s or ended otherwise than with status 0.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.terminate();
        let status = self.wait(Duration::from_secs(10))?;
        ensure!(status.success(), "mesh-agent ended with {status}; its log:\n{}", self.log());
        Ok(())
    }
}
