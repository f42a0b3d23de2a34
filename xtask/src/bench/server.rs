//! A server process: pinned, waited for, watched from outside through /proc, and ended with its handle.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) resident_kb: u64,
}

impl Server {
    /// Starts `command` on one CPU, its output in `log`, and waits until it accepts connections at `port`.
    pub(crate) fn start(command: &Command, cpu: u32, port: u16, log: &Path) -> Result<Self> {
        // taskset becomes the server, so the child is the server itself.
        let mut pinned = Command::new("taskset");
        pinned.args(["--cpu-list", &cpu.to_string()]).arg(command.get_program()).args(command.get_args());
        let output = File::create(log)?;
        pinned.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let name = command.get_program().to_string_lossy().into_owned();
        let mut server = Self { child: pinned.spawn().with_context(|| format!("cannot run {name}"))? };

        let deadline = Instant::now() + START;
        while TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_err() {
            let ended = server.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(log).unwrap_or_default();
                bail!("{name} does not accept connections at port {port}:\n{log}");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Reads what it has used.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let folder = PathBuf::from("/proc").join(self.child.id().to_string());
        let stat = fs::read_to_string(folder.join("stat")).context("the server has ended")?;
        let status = fs::read_to_string(folder.join("status"))?;
        Ok(Usage {
            cpu: cpu_time(&stat).context("/proc/PID/stat has fields 14 and 15")?,
            resident_kb: resident_kb(&status).context("/proc/PID/status has VmRSS")?,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A TCP port that was free just now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// User and system time of all threads.
fn cpu_time(stat: &str) -> Option<Duration> {
    // The second field is the program's name in brackets, and may hold anything; counting starts after it.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

fn resident_kb(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}

/// USER_HZ: the unit of /proc, 100 on every architecture this runs on, whatever the kernel's own tick is.
pub(crate) const TICKS_PER_SECOND: u64 = 100;

/// Envoy takes a second or two on a busy machine.
const START: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_after_any_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 100 1 1";
        assert_eq!(cpu_time(stat), Some(Duration::from_secs(2)));
        assert_eq!(resident_kb("Name:\tx\nVmRSS:\t   2048 kB\n"), Some(2048));
    }
}
