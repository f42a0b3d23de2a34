//! A child process whose output is kept, which is waited for with a deadline, and which never outlives its owner.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;

/// A running program. Killed and reaped on drop.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Log>,
}

/// What a program printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Lines of its standard output and error, as they came.
    pub lines: Vec<String>,
}

impl Process {
    /// Starts `command`. `name` is for messages.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn spawn(name: &str, mut command: Command) -> anyhow::Result<Self> {
        // A group of its own: Ctrl-C is for whoever owns the child, who then ends it in order.
        command.process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{name}: {:?}", command.get_program()))?;
        let log = Arc::new(Log::default());
        for stream in [child.stdout.take().map(boxed), child.stderr.take().map(boxed)].into_iter().flatten() {
            log.open();
            let log = Arc::clone(&log);
            thread::spawn(move || log.fill(stream));
        }
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it printed so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Waits for a line, among those already printed too, and returns it.
    ///
    /// # Errors
    /// If it doesn't come in time, or the program ends without it.
    pub fn wait_line(&self, wanted: impl Fn(&str) -> bool, within: Duration) -> anyhow::Result<String> {
        let found = self.log.wait(within, |lines| lines.iter().find(|line| wanted(line)).cloned());
        found.with_context(|| format!("{} did not say it; its output:\n{}", self.name, self.lines().join("\n")))
    }

    /// Sends a signal. A program that has ended is no error.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            // Not reaped yet, so the id is still its own.
            let _ = kill_process(pid, signal);
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it doesn't end in time.
    pub fn wait(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{} did not end within {within:?}; its output:\n{}", self.name, self.lines().join("\n"));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for its end and for the last of its output.
    ///
    /// # Errors
    /// If it doesn't end in time.
    pub fn output(mut self, within: Duration) -> anyhow::Result<Output> {
        let status = self.wait(within)?;
        // A grandchild may hold the pipes open; then what is there has to do.
        self.log.wait_closed(Duration::from_secs(1));
        Ok(Output { status, lines: self.lines() })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Output {
    /// All of it as one text.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }
}

#[derive(Debug, Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LogState {
    lines: Vec<String>,
    streams: u32,
}

impl Log {
    fn open(&self) {
        self.change(|state| state.streams += 1);
    }

    fn fill(&self, stream: Box<dyn Read + Send>) {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            self.change(|state| state.lines.push(String::from_utf8_lossy(&line).trim_end().to_owned()));
        }
        self.change(|state| state.streams -= 1);
    }

    fn change(&self, change: impl FnOnce(&mut LogState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn lines(&self) -> Vec<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }

    /// Tries `find` on the lines at each change, until it finds, the output ends or the time is up.
    fn wait<T>(&self, within: Duration, find: impl Fn(&[String]) -> Option<T>) -> Option<T> {
        let mut found = None;
        self.wait_until(within, |state| {
            found = find(&state.lines);
            found.is_some() || state.streams == 0
        });
        found
    }

    fn wait_closed(&self, within: Duration) {
        self.wait_until(within, |state| state.streams == 0);
    }

    fn wait_until(&self, within: Duration, mut done: impl FnMut(&LogState) -> bool) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout_while(state, within, |state| !done(state)));
    }
}

fn boxed(stream: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(stream)
}
