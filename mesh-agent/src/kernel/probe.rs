//! What this kernel and host can do for the mesh, found out by trying.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aya::maps::MapType;
use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported};
use mesh_common::names;

use crate::kernel::cgroup::Cgroups;
use crate::kernel::pin::folder;
use crate::kernel::selftest::{self, Check, Tried};
use crate::kernel::services::Limits;
use crate::kernel::{bpffs, capability, loader, query};

/// One thing the mesh needs or would like to have.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What.
    pub name: String,
    /// Whether it is there.
    pub status: Status,
    /// What was found, what is lost without it, or what to do about it.
    pub detail: String,
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is.
    Have,
    /// The mesh works, but not all of it.
    Degraded,
    /// The kernel side can't work.
    Missing,
}

/// Looks at everything.
#[must_use]
pub fn probe() -> Vec<Finding> {
    let mut findings =
        vec![kernel(), capabilities(), borrowing(), cgroup2(), bpf_file_system(), btf(), memlock(), ipv6()];
    findings.extend(PROGRAM_TYPES.iter().map(program_type));
    findings.extend(MAP_TYPES.iter().map(map_type));
    findings.push(netns_cookie());
    findings.extend(programs());
    findings.extend(acceleration(selftest::run(PATIENCE)));
    findings.push(foreign());
    findings.extend(pinned());
    findings
}

impl Finding {
    fn new(name: impl Into<String>, status: Status, detail: impl Into<String>) -> Self {
        Self { name: name.into(), status, detail: detail.into() }
    }
}

fn kernel() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    match version(release) {
        Some(version) if version >= OLDEST => Finding::new("kernel", Status::Have, format!("Linux {release}")),
        _ => {
            let detail = format!("Linux {release}; 5.15 or newer is needed to tell pods apart in every hook");
            Finding::new("kernel", Status::Missing, detail)
        }
    }
}

fn capabilities() -> Finding {
    match capability::missing() {
        Ok(missing) if missing.is_empty() => {
            let all: Vec<_> = capability::NEEDED.iter().map(|needed| needed.name).collect();
            Finding::new("capabilities", Status::Have, all.join(" "))
        }
        Ok(missing) => {
            let each: Vec<_> =
                missing.iter().map(|needed| format!("{} (to {})", needed.name, needed.purpose)).collect();
            let detail = format!("run as root, or grant {}", each.join(", "));
            Finding::new("capabilities", Status::Missing, detail)
        }
        Err(error) => Finding::new("capabilities", Status::Missing, format!("/proc/self/status: {error}")),
    }
}

fn borrowing() -> Finding {
    let wanted = capability::TO_BORROW_SOCKETS;
    if capability::has(&wanted) {
        return Finding::new("borrowing sockets", Status::Have, wanted.name);
    }
    let detail = format!("without {}, nobody can {} to which the kernel sent them", wanted.name, wanted.purpose);
    Finding::new("borrowing sockets", Status::Degraded, detail)
}

fn cgroup2() -> Finding {
    match Cgroups::find() {
        Ok(cgroups) => Finding::new("cgroup v2", Status::Have, format!("at {}", cgroups.mount().display())),
        Err(error) => Finding::new("cgroup v2", Status::Missing, error.to_string()),
    }
}

fn bpf_file_system() -> Finding {
    let path = Path::new(bpffs::DEFAULT_MOUNT);
    let detail = match bpffs::holds(path) {
        Ok(true) => "at /sys/fs/bpf",
        _ => "not mounted; the agent mounts it",
    };
    Finding::new("bpf file system", Status::Have, detail)
}

fn btf() -> Finding {
    let path = "/sys/kernel/btf/vmlinux";
    if Path::new(path).exists() {
        return Finding::new("kernel BTF", Status::Have, path);
    }
    let detail = "none: the programs do without, but the verifier's messages lack names (CONFIG_DEBUG_INFO_BTF)";
    Finding::new("kernel BTF", Status::Degraded, detail)
}

/// Since 5.11 the kernel charges maps to the memory cgroup, and the kernels that the mesh runs on are newer.
fn memlock() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if version(release.trim()).is_some_and(|version| version >= (5, 11)) {
        return Finding::new("locked memory", Status::Have, "not limited for maps by this kernel");
    }
    Finding::new(
        "locked memory",
        Status::Degraded,
        "this kernel limits maps by RLIMIT_MEMLOCK: set LimitMEMLOCK=infinity",
    )
}

fn ipv6() -> Finding {
    if Path::new("/proc/net/if_inet6").exists() {
        return Finding::new("IPv6", Status::Have, "in this namespace; each workload's own is asked when it is meshed");
    }
    Finding::new("IPv6", Status::Degraded, "not in this kernel: IPv6 connections are not steered")
}

fn program_type(&(kind, name, since): &(ProgramType, &str, &str)) -> Finding {
    let name = format!("program type {name}");
    match is_program_supported(kind) {
        Ok(true) => Finding::new(name, Status::Have, ""),
        Ok(false) => Finding::new(name, Status::Missing, format!("Linux {since} or newer with CONFIG_CGROUP_BPF")),
        Err(error) => Finding::new(name, Status::Missing, format!("cannot be tried: {error}")),
    }
}

fn map_type(&(kind, name, since): &(MapType, &str, &str)) -> Finding {
    let name = format!("map type {name}");
    match is_map_supported(kind) {
        Ok(true) => Finding::new(name, Status::Have, ""),
        Ok(false) => {
            Finding::new(name, Status::Missing, format!("Linux {since} or newer with CONFIG_BPF_STREAM_PARSER"))
        }
        Err(error) => Finding::new(name, Status::Missing, format!("cannot be tried: {error}")),
    }
}

/// The helper that came last of those the programs cannot do without.
fn netns_cookie() -> Finding {
    let name = "helper bpf_get_netns_cookie in sock_ops";
    match is_helper_supported(ProgramType::SockOps, BpfHelper::BPF_FUNC_get_netns_cookie) {
        Ok(true) => Finding::new(name, Status::Have, ""),
        Ok(false) => Finding::new(name, Status::Missing, "Linux 5.15 or newer"),
        Err(error) => Finding::new(name, Status::Missing, format!("cannot be tried: {error}")),
    }
}

/// The programs themselves: helpers, contexts and maps are tried where they are used.
fn programs() -> Vec<Finding> {
    let mut object = match loader::object(false, None, Limits::LEAST, None) {
        Ok(object) => object,
        Err(error) => return vec![Finding::new("programs", Status::Missing, chain(&error))],
    };
    let mut check = |program: &'static str| {
        let name = format!("program {program}");
        if let Err(error) = loader::load_program(&mut object, program) {
            return Finding::new(name, Status::Missing, chain(&error));
        }
        let count = object.program(program).and_then(|loaded| loaded.info().ok()?.verified_instruction_count());
        let detail = count.map_or_else(|| "verified".to_owned(), |count| format!("verified, {count} instructions"));
        Finding::new(name, Status::Have, detail)
    };
    names::PROGRAMS.into_iter().map(&mut check).collect()
}

/// What keeps `acceleration: auto` from turning it on. All that the mesh promises is here without it.
fn acceleration(tried: Tried) -> Vec<Finding> {
    match tried {
        Tried::All(checks) if checks.iter().all(|check| check.same) => {
            vec![Finding::new("acceleration", Status::Have, format!("{} checks: apps notice nothing", checks.len()))]
        }
        Tried::All(checks) => {
            let differs = checks.into_iter().filter(|check| !check.same);
            let finding = |Check { name, ordinary, accelerated, .. }| {
                let detail = format!("{accelerated}, instead of {ordinary}: auto means off");
                Finding::new(format!("acceleration: {name}"), Status::Have, detail)
            };
            differs.map(finding).collect()
        }
        Tried::Not(why) => vec![Finding::new("acceleration", Status::Degraded, format!("{why}: auto means off"))],
    }
}

fn foreign() -> Finding {
    let name = "programs of others";
    let found = Cgroups::find().and_then(|cgroups| cgroups.open()).map_err(|error| error.to_string());
    let found = found.and_then(|root| {
        let netns = File::open("/proc/self/ns/net").map_err(|error| error.to_string())?;
        query::attached(&root, &netns).map_err(|error| error.to_string())
    });
    match found {
        Ok(found) if found.is_empty() => Finding::new(name, Status::Have, "none on the mesh's hooks"),
        Ok(found) => {
            let each: Vec<_> = found.iter().map(|it| format!("{} ({} {})", it.hook, it.name, it.id)).collect();
            let ours = found.iter().all(|it| names::PROGRAMS.contains(&it.name.as_str()));
            let (status, advice) = if ours {
                (Status::Have, "an agent of this mesh runs here")
            } else {
                (Status::Degraded, "they run too, and may see or change addresses before the mesh does")
            };
            Finding::new(name, status, format!("{}: {advice}", each.join(", ")))
        }
        Err(error) => Finding::new(name, Status::Degraded, format!("cannot be listed: {error}")),
    }
}

/// What agents have pinned where pins belong, whether they run or not.
fn pinned() -> Vec<Finding> {
    let folders = fs::read_dir(bpffs::DEFAULT_MOUNT).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<_> = folders.filter_map(|path| Some((folder::owner(&path)?, path))).collect();
    found.sort_by(|(_, a), (_, b)| a.cmp(b));
    let finding = |(owner, path): (folder::Owner, PathBuf)| {
        let name = format!("pins at {}", path.display());
        let abi = owner.abi;
        match folder::holder(&path) {
            Some(pid) => Finding::new(name, Status::Have, format!("of process {pid}, interface {abi}")),
            None if folder::is_known(abi) => {
                let detail = format!("interface {abi}; no agent runs: the next takes over, or mesh-agent uninstall");
                Finding::new(name, Status::Have, detail)
            }
            None => {
                let path = path.display();
                let detail = format!("of another version, interface {abi}: mesh-agent uninstall --pin-path {path}");
                Finding::new(name, Status::Degraded, detail)
            }
        }
    };
    found.into_iter().map(finding).collect()
}

/// Major and minor number.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    short(&text)
}

/// A verifier's log is long: its first line, and of the others the last that is of the program, which says why.
fn short(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let tells = |line: &&str| !SUMS.iter().any(|start| line.starts_with(start));
    match lines.rfind(tells) {
        Some(why) => format!("{first}: {why}"),
        None => first.to_owned(),
    }
}

/// For machines that are slow: whoever asks may wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// How lines begin that sum up, and what follows the log.
const SUMS: [&str; 4] = ["processed ", "stack depth ", "verification time ", ":"];

const OLDEST: (u32, u32) = (5, 15);
const PROGRAM_TYPES: [(ProgramType, &str, &str); 3] = [
    (ProgramType::CgroupSockAddr, "cgroup_sock_addr", "5.8"),
    (ProgramType::SockOps, "sock_ops", "5.15"),
    (ProgramType::SkLookup, "sk_lookup", "5.9"),
];
const MAP_TYPES: [(MapType, &str, &str); 4] = [
    (MapType::SkStorage, "sk_storage", "5.2"),
    (MapType::SockMap, "sockmap", "4.14"),
    (MapType::LpmTrie, "lpm_trie", "4.11"),
    (MapType::RingBuf, "ringbuf", "5.8"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        assert_eq!(version("6.18.44-fc-v769"), Some((6, 18)));
        assert_eq!(version("5.10.0-32-cloud-amd64"), Some((5, 10)));
        assert_eq!(version("6.1"), Some((6, 1)));
        assert_eq!(version(""), None);
        assert!((5, 10) < OLDEST && (6, 1) > OLDEST);
    }

    #[test]
    fn acceleration_that_auto_leaves_off_is_nothing_that_is_missing() {
        let check = |same| Check { name: "a".into(), ordinary: "b".into(), accelerated: "c".into(), same };
        let [ref differs] = acceleration(Tried::All(vec![check(true), check(false)]))[..] else {
            panic!("one finding")
        };
        assert_eq!((differs.name.as_str(), differs.status), ("acceleration: a", Status::Have));
        assert_eq!(differs.detail, "c, instead of b: auto means off");
        let untried = acceleration(Tried::Not("no cgroup".into()));
        assert_eq!((untried.len(), untried[0].status), (1, Status::Degraded));
    }

    #[test]
    fn of_a_verifiers_log_the_line_that_says_why_is_kept() {
        let log = "refused. Verifier output: ; #[sock_ops]\n0: (bf) r6 = r1\nunknown func bpf_f#1\nprocessed 2 insns\nstack depth 8\n\n: Invalid";
        assert_eq!(short(log), "refused. Verifier output: ; #[sock_ops]: unknown func bpf_f#1");
        assert_eq!(short("one line"), "one line");
    }
}
