//! One machine: started, listened to, and ended when it says no more.
//!
//! Emulated in software, because a test machine often is a virtual one itself. The emulator is the one installed if it is new enough;
//! else Debian's newest for this machine is unpacked beside, and nothing of the machine changes.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use mesh_ebpf_build::find_program;
use serde_json::Value;

use crate::{
    process,
    vm::{cache, debian, kernel::Kernel},
};

/// What to start.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) initramfs: &'a Path,
    pub(crate) megabytes: u32,
    /// Words for its process 1.
    pub(crate) words: &'a [&'a str],
    pub(crate) deadline: Duration,
    /// Everything it says goes there.
    pub(crate) log: &'a Path,
}

/// The emulator.
#[derive(Debug)]
pub(crate) struct Qemu {
    program: PathBuf,
    /// Where it was unpacked; nowhere, if it is installed.
    root: Option<PathBuf>,
}

impl Qemu {
    /// The one that is here, or is here now.
    pub(crate) fn find() -> Result<Self> {
        if let Some(program) = find_program(PROGRAM) {
            let installed = Self { program, root: None };
            if installed.version().is_some_and(|version| version >= OLDEST) {
                return Ok(installed);
            }
        }
        let root = cache::folder()?.join("qemu-new");
        let this = Self { program: root.join("usr/bin").join(PROGRAM), root: Some(root.clone()) };
        // Libraries that the machine had then may be gone by now.
        if process::printed(this.command().arg("--version")).is_none() {
            cache::fill(&root, |folder| debian::unpack_beside("qemu-system-x86", folder))?;
            process::run(this.command().arg("--version").stdout(Stdio::null()))?;
        }
        if this.version().is_none_or(|version| version < OLDEST) {
            eprintln!("the emulator is older than {OLDEST}: kernels from 6.12 on may die in it for no fault of theirs");
        }
        Ok(this)
    }

    /// The first number of its version.
    fn version(&self) -> Option<u32> {
        let said = process::printed(self.command().arg("--version"))?;
        said.strip_prefix("QEMU emulator version ")?.split('.').next()?.parse().ok()
    }

    /// Runs it to its end, and returns what its process 1 said, line by line. The emulator is at fault now and then while a kernel
    /// rewrites itself at boot; one that did not come to its process 1 is started again.
    pub(crate) fn run(&self, machine: &Machine<'_>) -> Result<Vec<Value>> {
        for _ in 1..BOOTS {
            let said = self.run_once(machine)?;
            if !said.is_empty() {
                return Ok(said);
            }
            eprintln!("Linux {}: the emulated machine did not boot; it is started again", machine.kernel.release);
        }
        self.run_once(machine)
    }

    fn run_once(&self, machine: &Machine<'_>) -> Result<Vec<Value>> {
        let mut command = self.command();
        command.args(MACHINE).args(["-m", &machine.megabytes.to_string(), "-append"]);
        command.arg(format!("{KERNEL_WORDS} -- {}", machine.words.join(" ")).trim_end_matches(" -- "));
        command.arg("-kernel").arg(&machine.kernel.image).arg("-initrd").arg(machine.initramfs);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(machine.log.with_extension("qemu"))?);
        let mut child = Ended(command.spawn().with_context(|| self.program.display().to_string())?);
        let console = child.0.stdout.take().context("its console is a pipe")?;
        let mut log = File::create(machine.log).with_context(|| machine.log.display().to_string())?;
        let (lines, said) = mpsc::sync_channel(64);
        thread::spawn(move || {
            for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        let began = Instant::now();
        let mut values = Vec::new();
        let left = |values: &Vec<Value>| {
            let longest = if values.is_empty() { machine.deadline.min(LONGEST_BOOT) } else { machine.deadline };
            longest.saturating_sub(began.elapsed())
        };
        // Its end, or no time left: either way nothing more comes.
        while let Ok(line) = said.recv_timeout(left(&values)) {
            log.write_all(&line)?;
            log.write_all(b"\n")?;
            values.extend(line.strip_prefix(MARK).and_then(|line| serde_json::from_slice::<Value>(line).ok()));
            if line.windows(PANIC.len()).any(|part| part == PANIC) {
                break;
            }
        }
        Ok(values)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(root) = &self.root {
            command.env("LD_LIBRARY_PATH", root.join("usr/lib/x86_64-linux-gnu"));
            for folder in ["usr/share/qemu", "usr/share/seabios"] {
                command.arg("-L").arg(root.join(folder)).arg("-L").arg(Path::new("/").join(folder));
            }
        }
        command
    }
}

/// Never outlives whoever started it.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const PROGRAM: &str = "qemu-system-x86_64";
/// Version 7 loses the processor's flags now and then, in `cmpxchg16b` and `iret`; 6.12 met that in every second run.
const OLDEST: u32 = 10;

/// How often one is started.
const BOOTS: u32 = 3;
/// Some seconds, if nobody else has the processors.
const LONGEST_BOOT: Duration = Duration::from_secs(180);
/// The kernel's last words. It should switch the machine off then, and does not always.
const PANIC: &[u8] = b"Kernel panic - not syncing";

/// As process 1 writes it.
const MARK: &[u8] = b"@@ ";

const MACHINE: [&str; 17] = [
    "-accel",
    "tcg,thread=multi",
    "-M",
    "q35",
    "-cpu",
    "max,-erms,-fsrm,-fsrs,-fzrm",
    "-smp",
    "2",
    "-nodefaults",
    "-no-user-config",
    "-display",
    "none",
    "-no-reboot",
    "-serial",
    "stdio",
    "-monitor",
    "none",
];

const KERNEL_WORDS: &str = "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off nokaslr";
