//! Process 1 of a test machine: makes a Linux that the tests can live in, runs them one by one, says how each went, and
//! switches the machine off.
//!
//! What it says are lines of JSON behind [`MARK`], on the console, which may carry words of the kernel too. Each test has a
//! process of its own: one that hangs or takes its process down costs itself. Which tests there are is asked of the test
//! program, so there is no second list.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::{
    mount::{MountFlags, mount},
    process::{Resource, Rlimit, setrlimit},
    system::{RebootCommand, finit_module, reboot},
};
use serde_json::{Value, json};

fn main() {
    // The kernel hands on words of its own command line that it has no use for.
    let word = std::env::args().find_map(|word| word.strip_prefix("run=").map(str::to_owned));
    let word = word.as_deref().unwrap_or("all");
    say(&json!({ "up": true }));
    let done = prepare().and_then(|()| match word.split_once(':') {
        Some(("soak", test)) => one("/bin/netns", test, &["--ignored"], &[], LONGEST_SOAK),
        Some(("stress", numbers)) => stress(numbers),
        _ if word == "programs" => programs(),
        _ => programs().and_then(|()| scenarios(word)),
    });
    match done {
        Ok(()) => say(&json!({ "done": true })),
        Err(error) => say(&json!({ "error": format!("{error:#}") })),
    }
    // Whoever reads the console has to have it all before the machine goes.
    thread::sleep(Duration::from_millis(200));
    let refused = reboot(RebootCommand::PowerOff);
    println!("the machine does not switch off: {refused:?}");
}

fn programs() -> Result<()> {
    let checked = Command::new(AGENT).args(["check", "--json"]).output().context(AGENT)?;
    // What it found missing is in its words and in its exit status too; only what is not its words has gone wrong.
    let findings: Value = serde_json::from_slice(&checked.stdout).with_context(|| {
        let (said, complaint) = (String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
        format!("`mesh-agent check`, {}, said {said:?} and {complaint:?}", checked.status)
    })?;
    say(&json!({ "findings": findings }));
    Ok(())
}

fn scenarios(word: &str) -> Result<()> {
    let names = tests_of(TESTS)?;
    let wanted = wanted(&names, word);
    ensure!(!wanted.is_empty(), "no scenario of this name");
    say(&json!({ "existing": names }));
    say(&json!({ "listed": wanted }));
    wanted.iter().try_for_each(|name| one(TESTS, name, &[], &[], LONGEST_TEST))
}

/// So many connections and megabytes in each test of the suite.
fn stress(numbers: &str) -> Result<()> {
    let (connections, megabytes) = numbers.split_once(':').context("stress:CONNECTIONS:MEGABYTES")?;
    let scale = [("MESH_STRESS_CONNECTIONS", connections), ("MESH_STRESS_MEGABYTES", megabytes)];
    let names = tests_of(STRESS)?;
    names.iter().try_for_each(|name| one(STRESS, name, &[], &scale, LONGEST_SOAK))
}

/// Names of all tests of a program.
fn tests_of(program: &str) -> Result<Vec<String>> {
    let listed = Command::new(program).args(["--list", "--format", "terse"]).output().context(program.to_owned())?;
    let listed = String::from_utf8(listed.stdout).context("names of tests")?;
    let names: Vec<_> = listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect();
    ensure!(!names.is_empty(), "the test program has no tests");
    Ok(names)
}

/// Those that are to run: all, or those with one of these in their name.
fn wanted<'a>(names: &'a [String], word: &str) -> Vec<&'a str> {
    let parts = word.strip_prefix("like:").unwrap_or_default();
    let names = names.iter().map(String::as_str);
    names.filter(|name| parts.split(',').any(|part| name.contains(part))).collect()
}

/// Runs one test and says how it went.
fn one(program: &str, name: &str, more: &[&str], scale: &[(&str, &str)], longest: Duration) -> Result<()> {
    let log = "/tmp/test.log";
    let output = File::create(log).context(log)?;
    let started = Instant::now();
    let mut command = Command::new(program);
    command.args([name, "--exact", "--nocapture"]).args(more).env("MESH_AGENT_BIN", AGENT).env("RUST_BACKTRACE", "0");
    command.envs(scale.iter().copied());
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let ended = wait(&mut command, longest)?;
    let text = String::from_utf8_lossy(&fs::read(log).context(log)?).into_owned();
    // A name that matches nothing succeeds too.
    let passed = ended.is_some_and(|status| status.success()) && text.contains("test result: ok. 1 passed");
    say(&json!({
        "scenario": name, "passed": passed, "hung": ended.is_none(), "output": text,
        "milliseconds": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    }));
    Ok(())
}

/// How it ended, or nothing if it had to be ended.
fn wait(command: &mut Command, longest: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + longest;
    let mut child = command.spawn().with_context(|| format!("{:?}", command.get_program()))?;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

fn prepare() -> Result<()> {
    for (kind, place) in MOUNTS {
        fs::create_dir_all(place).context(place)?;
        mount(kind, place, kind, MountFlags::empty(), None).with_context(|| format!("mount {kind} on {place}"))?;
    }
    for module in fs::read_to_string("/modules/order").context("/modules/order")?.lines() {
        let file = File::open(Path::new("/modules").join(module)).context("module")?;
        finit_module(file, c"", 0).with_context(|| format!("module {module}"))?;
    }
    // The first process begins with less than any service manager gives.
    for (resource, most) in [(Resource::Nofile, Some(DESCRIPTORS)), (Resource::Memlock, None)] {
        setrlimit(resource, Rlimit { current: most, maximum: most }).context("limits")?;
    }
    // Tests stand in for the agent, whose cgroup is exempt: not the root, where everything is.
    fs::create_dir("/sys/fs/cgroup/tests").context("cgroup")?;
    fs::write("/sys/fs/cgroup/tests/cgroup.procs", "0").context("cgroup")?;
    let status = Command::new("/bin/ip").args(["link", "set", "lo", "up"]).status().context("ip")?;
    ensure!(status.success(), "ip link set lo up: {status}");
    Ok(())
}

/// In one piece, at the beginning of a line.
fn say(value: &Value) {
    let line = format!("\n{MARK}{value}\n");
    // Without a console nobody listens, and the deadline of who waits tells.
    let _ = io::stdout().lock().write_all(line.as_bytes());
    let _ = io::stdout().flush();
}

/// Before every line that is for the program that started the machine.
const MARK: &str = "@@ ";

const AGENT: &str = "/bin/mesh-agent";
const TESTS: &str = "/bin/kernel";
const STRESS: &str = "/bin/stress";

/// Emulation is slow; what takes longer than this does not end.
const LONGEST_TEST: Duration = Duration::from_secs(150);
const LONGEST_SOAK: Duration = Duration::from_secs(1400);

/// The kernel's own `fs.nr_open`.
const DESCRIPTORS: u64 = 1 << 20;

const MOUNTS: [(&str, &str); 7] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/run"),
    ("tmpfs", "/tmp"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("bpf", "/sys/fs/bpf"),
];
