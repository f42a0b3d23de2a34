//! Which workload a connecting task is.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_get_current_cgroup_id, bpf_get_netns_cookie,
};
use aya_ebpf::programs::SockAddrContext;
use mesh_common::config::CGROUP_LEVELS;
use mesh_common::workload::Workload;

use crate::maps::{CGROUPS, KNOBS, NETNS};

/// Who connects.
pub(crate) enum Who<'a> {
    /// Nobody of the mesh, or the agent itself.
    Other,
    /// This workload.
    Workload(&'a Workload),
    /// This workload or the agent: without the agent's configuration there is no telling.
    Unclear(&'a Workload),
}

/// Finds the workload by the socket's network namespace; where several share it, by the task's cgroup or the nearest one above
/// that is known. Everything that is not meshed costs one look-up.
#[inline(always)]
pub(crate) fn connects<'a>(ctx: &SockAddrContext) -> Who<'a> {
    // SAFETY: the context is the kernel's own; the helper only reads it.
    let cookie = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    // SAFETY: the map is not preallocated: an entry that is deleted meanwhile is freed after this program has run.
    let Some(found) = (unsafe { NETNS.get(cookie) }) else { return Who::Other };
    let found = if found.is_by_cgroup() {
        match by_cgroup() {
            Some(workload) => workload,
            None => return Who::Other,
        }
    } else {
        found
    };
    match KNOBS.get(0) {
        Some(knobs) if knobs.abi == 0 => Who::Unclear(found),
        // SAFETY: takes nothing and only reads the current task.
        Some(knobs) if knobs.agent_cgroup == unsafe { bpf_get_current_cgroup_id() } => Who::Other,
        Some(_) => Who::Workload(found),
        None => Who::Unclear(found),
    }
}

/// A cgroup inside a workload's cgroup belongs to it: containers make their own.
#[inline(always)]
fn by_cgroup<'a>() -> Option<&'a Workload> {
    for up in 0..CGROUP_LEVELS {
        let level = (CGROUP_LEVELS - up) as i32;
        // SAFETY: takes a number and only reads the current task; answers 0 below the task's own level.
        let id = unsafe { bpf_get_current_ancestor_cgroup_id(level) };
        if id == 0 {
            continue;
        }
        // SAFETY: as for the namespaces.
        if let Some(workload) = unsafe { CGROUPS.get(id) } {
            return Some(workload);
        }
    }
    None
}
