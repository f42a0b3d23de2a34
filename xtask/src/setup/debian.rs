//! Installing packages on Debian.
//!
//! Packages of servers are wanted for their programs only. They must neither start now nor at the next boot, and nothing
//! that is installed already may be removed to make room: `debian/install.sh` sees to both.

use std::{fs, process::Command};

use anyhow::{Result, bail};
use mesh_ebpf_build::find_program;

use crate::process;

/// A compiler with its library sources. Debian keeps these at a current version in its stable releases.
pub(crate) const COMPILER: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// What bpf-linker is built against.
pub(crate) const LINKER_LIBRARIES: [&str; 3] = ["llvm-22-dev", "zlib1g-dev", "libzstd-dev"];

/// Whether this machine is a Debian that has all the packages.
pub(crate) fn is_served() -> bool {
    fs::read_to_string("/etc/os-release").is_ok_and(|text| is_debian_12(&text))
}

/// Installs `packages`, telling which; nothing to do if there are none.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    eprintln!("setup: installing Debian packages {}", packages.join(" "));
    let mut command = as_root(packages)?;
    let status = command.status()?;
    if !status.success() {
        bail!("apt-get could not install {} ({status})", packages.join(" "));
    }
    Ok(())
}

fn as_root(packages: &[&str]) -> Result<Command> {
    let mut words = vec!["sh", "-ec", include_str!("debian/install.sh"), "install.sh"];
    words.extend(packages);
    if !process::is_root() {
        if find_program("sudo").is_none() {
            bail!("run as root: apt-get install {}", packages.join(" "));
        }
        words.insert(0, "sudo");
    }
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    Ok(command)
}

/// Testing and unstable have no version, and are newer.
fn is_debian_12(os_release: &str) -> bool {
    let field = |name: &str| os_release.lines().find_map(|line| line.strip_prefix(name)).map(|it| it.trim_matches('"'));
    let version = field("VERSION_ID=").map(str::parse::<u32>);
    field("ID=") == Some("debian") && version.is_none_or(|version| version.is_ok_and(|version| version >= 12))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_12_and_newer_are_served() {
        assert!(is_debian_12("ID=debian\nVERSION_ID=\"12\"\n"));
        assert!(is_debian_12("NAME=x\nID=debian\n"), "unstable");
        assert!(!is_debian_12("ID=debian\nVERSION_ID=\"11\"\n"));
        assert!(!is_debian_12("ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\n"));
    }
}
