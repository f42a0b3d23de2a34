//! Which compiler and linker of this machine can make BPF objects.
//!
//! Two kinds of compiler will do: a rustup nightly with the library sources, and a distribution's own compiler whose
//! library sources are installed (Debian's `rustc-web` and `rust-web-src`), told to accept unstable flags. Both need
//! bpf-linker, which must be built on an LLVM at least as new as the compiler's. See docs/decisions/0001.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
};

/// The bpf-linker that `cargo xtask setup` installs; it links for compilers up to [`LINKER_LLVM`].
pub const BPF_LINKER_VERSION: &str = "0.13.0";

/// A compiler and a linker that together build the kernel programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// Whose compiler it is.
    pub compiler: Compiler,
    /// The cargo that belongs to the compiler.
    pub cargo: PathBuf,
    /// The compiler.
    pub rustc: PathBuf,
    /// The linker.
    pub bpf_linker: PathBuf,
}

/// Whose compiler it is, which says how it is made to accept unstable flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compiler {
    /// A nightly that rustup keeps: accepts them as it is.
    Nightly,
    /// The distribution's: has to be told.
    System,
}

/// What this machine lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// No compiler with library sources.
    pub compiler: bool,
    /// No bpf-linker.
    pub bpf_linker: bool,
}

impl Toolchain {
    /// Looks for a toolchain, the user's nightly before the distribution's.
    pub fn find() -> Result<Self, Missing> {
        let compiler = compilers().into_iter().find(Candidate::is_usable);
        match (compiler, bpf_linker()) {
            (Some(Candidate { compiler, cargo, rustc, .. }), Some(bpf_linker)) => {
                Ok(Self { compiler, cargo, rustc, bpf_linker })
            }
            (compiler, bpf_linker) => Err(Missing { compiler: compiler.is_none(), bpf_linker: bpf_linker.is_none() }),
        }
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}", self.rustc.display(), self.bpf_linker.display())
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (self.compiler, self.bpf_linker) {
            (true, true) => "a compiler with library sources and bpf-linker are",
            (true, false) => "a compiler with library sources is",
            _ => "bpf-linker is",
        };
        write!(f, "{what} missing to build the kernel programs: run `cargo xtask setup`")
    }
}

impl std::error::Error for Missing {}

/// A compiler that is there; whether it can be used is asked only of those that come up.
#[derive(Debug)]
struct Candidate {
    compiler: Compiler,
    cargo: PathBuf,
    rustc: PathBuf,
    sysroot: PathBuf,
}

impl Candidate {
    fn new(compiler: Compiler, prefix: &Path) -> Self {
        let bin = prefix.join("bin");
        Self { compiler, cargo: bin.join("cargo"), rustc: bin.join("rustc"), sysroot: prefix.to_owned() }
    }

    fn is_usable(&self) -> bool {
        self.cargo.is_file()
            && self.sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()
            && Version::of(&self.rustc).is_some_and(Version::is_usable)
    }
}

/// In the order in which they are preferred.
fn compilers() -> Vec<Candidate> {
    let wish = env::var(TOOLCHAIN_OVERRIDE).ok();
    let mut candidates = Vec::new();
    if wish.as_deref() != Some(SYSTEM) {
        let nightlies =
            nightlies().into_iter().filter(|(name, _)| wish.as_ref().is_none_or(|wish| name.starts_with(wish)));
        candidates.extend(nightlies.map(|(_, path)| Candidate::new(Compiler::Nightly, &path)));
    }
    if wish.is_none_or(|wish| wish == SYSTEM) {
        candidates.push(Candidate::new(Compiler::System, Path::new("/usr")));
    }
    candidates
}

/// The nightlies rustup keeps, the undated one first and then the newest: `nightly-x86_64-...` sorts after every date.
fn nightlies() -> Vec<(String, PathBuf)> {
    let Some(home) = home_of("RUSTUP_HOME", ".rustup") else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(home.join("toolchains")) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            name.starts_with("nightly").then(|| (name, entry.path()))
        })
        .collect();
    found.sort_by(|a, b| b.0.cmp(&a.0));
    found
}

fn bpf_linker() -> Option<PathBuf> {
    match env::var_os(LINKER_OVERRIDE) {
        Some(path) => Some(PathBuf::from(path)).filter(|path| path.is_file()),
        None => find_program("bpf-linker"),
    }
}

/// A program on `PATH`, or among those `cargo install` put where a fresh shell may not look yet.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // A plain user's PATH lacks the administrator's directories, where half of the network tools are.
    let extra = cargo_bin().into_iter().chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    env::split_paths(&path).chain(extra).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Where `cargo install` puts programs.
pub fn cargo_bin() -> Option<PathBuf> {
    home_of("CARGO_HOME", ".cargo").map(|home| home.join("bin"))
}

fn home_of(variable: &str, default: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).or_else(|| env::home_dir().map(|home| home.join(default)))
}

/// What of a compiler's version decides whether it will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    minor: u32,
    llvm: u32,
}

impl Version {
    fn of(rustc: &Path) -> Option<Self> {
        // A rustup proxy would install what it lacks; a compiler asked by its path does not.
        let output = Command::new(rustc).arg("-vV").env_remove("LD_LIBRARY_PATH").output().ok()?;
        Self::parse(&String::from_utf8(output.stdout).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
        let minor = field("release: 1.")?.split('.').next()?.parse().ok()?;
        let llvm = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
        Some(Self { minor, llvm })
    }

    fn is_usable(self) -> bool {
        self.minor >= OLDEST_RUSTC && self.llvm <= LINKER_LLVM
    }
}

/// The workspace's `rust-version`, as `1.N`.
const OLDEST_RUSTC: u32 = 95;

/// The LLVM of [`BPF_LINKER_VERSION`]: it cannot read what a newer one wrote.
const LINKER_LLVM: u32 = 22;

/// Names a rustup toolchain, or `system` for the distribution's compiler.
const TOOLCHAIN_OVERRIDE: &str = "MESH_BPF_TOOLCHAIN";
const SYSTEM: &str = "system";

/// Names the linker to use.
const LINKER_OVERRIDE: &str = "BPF_LINKER";

/// The variables that change what is found.
pub(crate) const OVERRIDES: [&str; 2] = [TOOLCHAIN_OVERRIDE, LINKER_OVERRIDE];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_newer_than_the_linker_is_no_use() {
        let text = |release, llvm| format!("rustc 1.x\nrelease: {release}\nLLVM version: {llvm}\n");
        let usable = |release, llvm| Version::parse(&text(release, llvm)).expect("a version").is_usable();
        assert!(usable("1.96.0", "22.1.8"));
        assert!(usable("1.97.0-nightly", "21.1.4"));
        assert!(!usable("1.85.0", "19.1.7"), "older than the workspace asks for");
        assert!(!usable("1.99.0-nightly", "23.1.0"), "writes what the linker cannot read");
        assert_eq!(Version::parse("zsh: no such file"), None);
    }

    #[test]
    fn what_is_missing_is_one_line_that_says_what_to_run() {
        for (compiler, bpf_linker) in [(true, true), (true, false), (false, true)] {
            let line = Missing { compiler, bpf_linker }.to_string();
            assert!(line.ends_with("run `cargo xtask setup`") && !line.contains('\n'), "{line}");
        }
    }
}
