//! Packages of any Debian suite, unpacked into a folder of ours.
//!
//! Nothing is installed: a machine's own sources, lists and packages stay as they are, and no package of the machine has to
//! go for one that a test wants. The mirror is the one that the machine's apt is set up with.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{process, vm::cache};

/// Debian's archive, seen through lists of our own.
#[derive(Debug)]
pub(crate) struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// With lists as of now.
    pub(crate) fn update() -> Result<Self> {
        Self::of("apt", &SUITES)
    }

    /// Of these suites, in a folder of this name.
    fn of(name: &str, suites: &[(&str, &str)]) -> Result<Self> {
        let this = Self { folder: cache::folder()?.join(name) };
        fs::create_dir_all(this.folder.join("lists/partial")).context("folder for apt's lists")?;
        fs::create_dir_all(this.folder.join("cache/archives/partial")).context("folder for apt's cache")?;
        let mirror = mirror()?;
        let line = |(suite, option): &(&str, &str)| {
            format!("deb [arch=amd64 signed-by={KEYS}{option}] {mirror} {suite} main\n")
        };
        let lines: String = suites.iter().map(line).collect();
        fs::write(this.folder.join("sources.list"), lines).context("list of suites")?;
        process::run(this.apt("apt-get").args(["-qq", "update"]))?;
        Ok(this)
    }

    /// Names of all packages of cloud kernels.
    pub(crate) fn kernels(&self) -> Result<Vec<String>> {
        let mut search = self.apt("apt-cache");
        search.args(["search", "--names-only", "^linux-(image|binary)-[0-9].*-cloud-amd64$"]);
        let found = process::printed(&mut search).context("apt-cache search failed")?;
        Ok(found.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
    }

    /// Unpacks these packages into `root`.
    pub(crate) fn unpack(&self, packages: &[String], root: &Path) -> Result<()> {
        let downloads = root.join("downloads");
        fs::create_dir_all(&downloads)?;
        process::run(self.apt("apt-get").args(["-qq", "download"]).args(packages).current_dir(&downloads))?;
        unpack_all(&downloads, root)?;
        Ok(fs::remove_dir_all(&downloads)?)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let folder = self.folder.display();
        for option in [
            format!("Dir::Etc::sourcelist={folder}/sources.list"),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("Dir::State::lists={folder}/lists"),
            format!("Dir::Cache={folder}/cache"),
            "Acquire::Languages=none".to_owned(),
            // A folder of the user's is none of apt's own user.
            "APT::Sandbox::User=".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }
}

/// Unpacks `package`, with what it needs and the machine lacks, into `root`: from the backports to the machine's own suite, which fit its
/// libraries, or from that suite where there are none.
pub(crate) fn unpack_beside(package: &str, root: &Path) -> Result<()> {
    let downloads = root.join("downloads");
    fs::create_dir_all(downloads.join("archives/partial"))?;
    let suite = suite()?;
    let backports = format!("{suite}-backports");
    let download = |mut command: Command, more: &[&str]| {
        command.args(["-qq", "--download-only", "--yes", "--no-install-recommends", "-o", "APT::Sandbox::User="]);
        command.args([
            "-o",
            &format!("Dir::Cache={}", downloads.display()),
            "-o",
            "APT::Keep-Downloaded-Packages=true",
        ]);
        process::run(command.args(more).args(["install", package]))
    };
    Archive::of("apt-own", &[(&suite, ""), (&backports, "")])
        .and_then(|own| download(own.apt("apt-get"), &["--target-release", &backports]))
        .or_else(|_| download(Command::new("apt-get"), &[]))?;
    unpack_all(&downloads.join("archives"), root)?;
    Ok(fs::remove_dir_all(&downloads)?)
}

fn unpack_all(folder: &Path, root: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "deb") {
            let status = Command::new("dpkg-deb").arg("-x").args([&path, root]).status().context("dpkg-deb")?;
            ensure!(status.success(), "dpkg-deb -x {} failed ({status})", path.display());
        }
    }
    Ok(())
}

/// What this machine's Debian is called.
fn suite() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name.context("no VERSION_CODENAME in /etc/os-release")?.trim_matches('"').to_owned())
}

/// Where this machine gets Debian from.
fn mirror() -> Result<String> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"]);
    let targets = process::printed(&mut command).context("kernels come from Debian's archive, and there is no apt")?;
    let found = targets.lines().find_map(|line| line.strip_prefix("Debian "));
    found.map(str::to_owned).context("this machine's apt has no source of Debian's; add one to get kernels")
}

/// Suites with kernels. What has left support has not been signed anew for long.
const SUITES: [(&str, &str); 6] = [
    ("bullseye", " check-valid-until=no"),
    ("bookworm", ""),
    ("bookworm-backports", ""),
    ("trixie", ""),
    ("trixie-backports", ""),
    ("sid", ""),
];

const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
