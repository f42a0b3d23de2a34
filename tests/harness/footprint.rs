//! What a process holds in the kernel, to be compared with what is left when it has gone.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

/// Descriptors, memory and BPF objects of one running process.
#[derive(Clone, Debug, Default)]
pub struct Footprint {
    /// Open descriptors.
    pub descriptors: usize,
    /// Resident memory, in KiB.
    pub resident_kib: u64,
    /// Ids of BPF programs it holds.
    pub programs: BTreeSet<u32>,
    /// Ids of BPF maps it holds.
    pub maps: BTreeSet<u32>,
    /// Ids of BPF links it holds.
    pub links: BTreeSet<u32>,
}

impl Footprint {
    /// Of the process with that id.
    ///
    /// # Errors
    /// If there is none, or it isn't ours to look at.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let mut footprint = Self { resident_kib: resident_kib(&proc)?, ..Self::default() };
        for entry in fs::read_dir(proc.join("fdinfo")).context("fdinfo")?.flatten() {
            footprint.descriptors += 1;
            // A descriptor may be closed while we look.
            let info = fs::read_to_string(entry.path()).unwrap_or_default();
            let field = |name: &str| {
                let line = info.lines().find_map(|line| line.strip_prefix(name))?;
                line.trim().parse::<u32>().ok()
            };
            // A link's information names its program too, which isn't held by a descriptor of its own then.
            match field("link_id:") {
                Some(link) => drop(footprint.links.insert(link)),
                None => footprint.programs.extend(field("prog_id:")),
            }
            footprint.maps.extend(field("map_id:"));
        }
        Ok(footprint)
    }

    /// Ids among these of objects that the kernel still has.
    ///
    /// # Errors
    /// If `bpftool` isn't there.
    pub fn still_loaded(&self) -> anyhow::Result<Vec<String>> {
        let kinds = [("prog", &self.programs), ("map", &self.maps), ("link", &self.links)];
        let mut left = Vec::new();
        for (kind, ids) in kinds {
            let output = Command::new("bpftool").args([kind, "show"]).output().context("bpftool")?;
            let text = String::from_utf8_lossy(&output.stdout);
            let loaded = text.lines().filter_map(|line| line.split(':').next()?.parse::<u32>().ok());
            left.extend(loaded.filter(|id| ids.contains(id)).map(|id| format!("{kind} {id}")));
        }
        Ok(left)
    }
}

/// Number of entries of the BPF maps with these ids, with their names; maps that can't be dumped are left out.
///
/// # Errors
/// If `bpftool` isn't there.
pub fn map_entries(maps: &BTreeSet<u32>) -> anyhow::Result<Vec<(String, usize)>> {
    let mut entries = Vec::new();
    for id in maps.iter().map(u32::to_string) {
        let show = Command::new("bpftool").args(["-j", "map", "show", "id", &id]).output().context("bpftool")?;
        let dump = Command::new("bpftool").args(["-j", "map", "dump", "id", &id]).output().context("bpftool")?;
        let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap_or_default();
        if let Some(list) = json(&dump.stdout).as_array() {
            let map = json(&show.stdout);
            // Every slot of an array always exists.
            if map["type"].as_str().is_some_and(|kind| kind.contains("hash")) {
                entries.push((map["name"].as_str().unwrap_or_default().to_owned(), list.len()));
            }
        }
    }
    Ok(entries)
}

fn resident_kib(proc: &std::path::Path) -> anyhow::Result<u64> {
    let status = fs::read_to_string(proc.join("status")).context("status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    line.trim().trim_end_matches(" kB").parse().context("VmRSS")
}
