//! Which CPU each part of a benchmark has to itself.
//!
//! The part under test comes first: its CPU is shared with nothing. With two CPUs load and backend share the other,
//! with three or more each has its own.

use std::fs;

use anyhow::{Context, Result, ensure};

/// CPU numbers, as taskset takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) proxy: u32,
    pub(crate) load: u32,
    pub(crate) backend: u32,
}

impl Placement {
    /// On the CPUs this process may use.
    pub(crate) fn of_this_machine() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        Self::on(&parse(list.context("the kernel says which CPUs are allowed")?.trim())?)
    }

    fn on(cpus: &[u32]) -> Result<Self> {
        ensure!(cpus.len() >= 2, "a benchmark takes at least two CPUs: one is the proxy's alone");
        Ok(Self { proxy: cpus[0], load: cpus[1], backend: *cpus.get(2).unwrap_or(&cpus[1]) })
    }
}

/// `0-3,8` as the kernel writes it.
fn parse(list: &str) -> Result<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse::<u32>()?..=last.parse()?);
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_never_shares() {
        assert_eq!(Placement::on(&parse("0-1").unwrap()).unwrap(), Placement { proxy: 0, load: 1, backend: 1 });
        assert_eq!(Placement::on(&parse("2,4-5").unwrap()).unwrap(), Placement { proxy: 2, load: 4, backend: 5 });
        assert!(Placement::on(&[0]).is_err());
    }
}
