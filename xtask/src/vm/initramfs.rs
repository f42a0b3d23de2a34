//! What a test machine starts with: process 1, the agent, the test programs, the few programs that they run, the libraries of
//! all these, and the kernel's modules. There is no disk.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use mesh_ebpf_build::find_program;
use serde_json::Value;

use crate::{
    process,
    vm::{cpio::Archive, kernel::Kernel, modules},
    workspace,
};

/// What is the same for all kernels.
#[derive(Debug)]
pub(crate) struct Base(Vec<u8>);

impl Base {
    /// Builds all that is ours and packs it.
    pub(crate) fn build() -> Result<Self> {
        let mut build = workspace::cargo();
        build.args(["build", "--quiet", "--bins", "--package", "mesh-agent", "--package", "mesh-tests"]);
        process::run(build.args(["--package", "xtask"]))?;
        let mut programs = vec![("/init".to_owned(), workspace::debug_program("vm-init"))];
        for name in ["mesh-agent", "mesh-peer"] {
            programs.push((format!("/bin/{name}"), workspace::debug_program(name)));
        }
        programs.extend(test_programs()?);
        let mut archive = Archive::default();
        archive.device("/dev/console", 5, 1);
        let mut libraries = BTreeSet::new();
        for (place, program) in &programs {
            archive.file(place, &stripped(program)?);
            libraries.extend(libraries_of(program)?);
        }
        for name in TOOLS {
            let program = find_program(name).with_context(|| format!("no {name} here: run `cargo xtask setup`"))?;
            archive.file(&format!("/bin/{name}"), &read(&program)?);
            libraries.extend(libraries_of(&program)?);
        }
        for library in libraries {
            archive.file(library.to_str().context("a path of UTF-8")?, &read(&library)?);
        }
        Ok(Self(archive.finish()))
    }

    /// With the modules of `kernel`, written to `path`.
    pub(crate) fn write(&self, kernel: &Kernel, path: &Path) -> Result<()> {
        let mut archive = Archive::default();
        let mut order = String::new();
        for module in modules::wanted(&kernel.modules)? {
            archive.file(&format!("/modules/{}", module.name), &module.bytes);
            order.push_str(&module.name);
            order.push('\n');
        }
        archive.file("/modules/order", order.as_bytes());
        let bytes = [self.0.as_slice(), &archive.finish()].concat();
        fs::write(path, bytes).with_context(|| path.display().to_string())
    }
}

/// The suites that run inside, and where cargo has put them.
fn test_programs() -> Result<Vec<(String, PathBuf)>> {
    let mut build = workspace::cargo();
    build.args(["test", "--quiet", "--no-run", "--message-format", "json", "--package", "mesh-tests"]);
    build.args(SUITES.iter().flat_map(|suite| ["--test", suite]));
    let messages = process::printed(&mut build).context("the tests do not build: `cargo test --no-run` says why")?;
    let messages: Vec<Value> = messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let find = |suite: &&str| {
        let built = messages.iter().find(|it| it["target"]["name"] == *suite && it["executable"].is_string());
        let path =
            built.and_then(|it| it["executable"].as_str()).with_context(|| format!("no test program {suite}"))?;
        Ok((format!("/bin/{suite}"), PathBuf::from(path)))
    };
    SUITES.iter().map(find).collect()
}

/// Without what is for a debugger, which is most of it.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let folder = workspace::target().join("vm");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let copy = folder.join(program.file_name().context("a file")?);
    let status =
        Command::new("strip").arg("-o").args([copy.as_path(), program]).status().context("strip (binutils)")?;
    ensure!(status.success(), "strip {} failed ({status})", program.display());
    read(&copy)
}

/// Where the loader finds them, it will find them there too.
fn libraries_of(program: &Path) -> Result<Vec<PathBuf>> {
    let listed = process::printed(Command::new("ldd").arg(program));
    let listed = listed.with_context(|| format!("ldd cannot read {}", program.display()))?;
    Ok(listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}

const SUITES: [&str; 3] = ["kernel", "netns", "stress"];

/// Programs that tests run.
const TOOLS: [&str; 4] = ["sh", "ip", "bpftool", "ss"];
