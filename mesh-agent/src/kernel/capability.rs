//! What this process may do.

use std::{fs, io};

/// A Linux capability the kernel side needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capability {
    /// As `capabilities(7)` spells it.
    pub(crate) name: &'static str,
    /// What for.
    pub(crate) purpose: &'static str,
    /// Any of these will do.
    bits: &'static [u32],
}

/// All of them.
pub(crate) const NEEDED: [Capability; 3] = [
    Capability { name: "CAP_BPF", purpose: "load programs and make maps", bits: &[BPF, SYS_ADMIN] },
    Capability { name: "CAP_NET_ADMIN", purpose: "attach programs to cgroups and namespaces", bits: &[NET_ADMIN] },
    Capability { name: "CAP_SYS_ADMIN", purpose: "enter the network namespaces of workloads", bits: &[SYS_ADMIN] },
];

/// Without it the mesh works, but nobody tells the app that an endpoint is gone to which the kernel sent it.
pub(crate) const TO_BORROW_SOCKETS: Capability =
    Capability { name: "CAP_SYS_PTRACE", purpose: "tell apps of endpoints that are gone", bits: &[SYS_PTRACE] };

const NET_ADMIN: u32 = 12;
const SYS_PTRACE: u32 = 19;
const SYS_ADMIN: u32 = 21;
/// Which `CAP_SYS_ADMIN` includes.
const BPF: u32 = 39;

/// Those that this process lacks.
pub(crate) fn missing() -> io::Result<Vec<Capability>> {
    let held = held()?;
    Ok(NEEDED.into_iter().filter(|needed| !needed.is_among(held)).collect())
}

/// Whether it has this one.
pub(crate) fn has(capability: &Capability) -> bool {
    held().is_ok_and(|held| capability.is_among(held))
}

impl Capability {
    fn is_among(&self, held: u64) -> bool {
        self.bits.iter().any(|bit| held & (1 << bit) != 0)
    }
}

fn held() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    effective(&status).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_status() {
        assert_eq!(effective("Name:\tx\nCapEff:\t000001fffeffffff\nCapBnd:\t0\n"), Some(0x1ff_feff_ffff));
        assert_eq!(effective("Name:\tx\n"), None);
    }
}
