//! Which programs are attached to the hooks the mesh uses, whoever attached them.
#![allow(unsafe_code, reason = "BPF_PROG_QUERY has no safe wrapper in aya for the hooks of cgroups and namespaces")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use aya::programs::loaded_programs;
use mesh_common::names;

/// The hooks, with the kernel's number for each (`enum bpf_attach_type`).
pub(crate) const CGROUP_HOOKS: [(&str, u32); 9] = [
    ("sock_ops", 3),
    ("connect4", 10),
    ("connect6", 11),
    ("sendmsg4", 14),
    ("sendmsg6", 15),
    ("recvmsg4", 19),
    ("recvmsg6", 20),
    ("getpeername4", 29),
    ("getpeername6", 30),
];
pub(crate) const SK_LOOKUP: (&str, u32) = ("sk_lookup", 36);

/// The number of the hook that a program of ours is for.
pub(crate) fn hook_of(program: &str) -> Option<u32> {
    PROGRAM_HOOKS.iter().find(|(name, _)| *name == program).map(|(_, hook)| *hook)
}

const PROGRAM_HOOKS: [(&str, u32); 12] = [
    (names::HANDSHAKE, 3),
    (names::CONNECT4, 10),
    (names::CONNECT6, 11),
    (names::SEND4, 14),
    (names::SEND6, 15),
    (names::RECEIVE4, 19),
    (names::RECEIVE6, 20),
    (names::PEERNAME4, 29),
    (names::PEERNAME6, 30),
    (names::NO_TLS, 22),
    (names::PAIRING, 3),
    (names::INBOUND, SK_LOOKUP.1),
];

/// A program on a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    /// The hook.
    pub(crate) hook: &'static str,
    /// The kernel's number of the program.
    pub(crate) id: u32,
    /// Its name, if the kernel tells.
    pub(crate) name: String,
}

/// What is attached at the root of the cgroups and in this namespace.
pub(crate) fn attached(cgroup_root: &File, netns: &File) -> io::Result<Vec<Attached>> {
    let names: BTreeMap<u32, String> = loaded_programs()
        .flatten()
        .map(|program| (program.id(), program.name_as_str().unwrap_or_default().to_owned()))
        .collect();
    let mut found = Vec::new();
    let hooks = CGROUP_HOOKS.iter().map(|hook| (hook, cgroup_root)).chain([(&SK_LOOKUP, netns)]);
    for (&(hook, attach_type), target) in hooks {
        for id in query(std::os::fd::AsFd::as_fd(target), attach_type)? {
            found.push(Attached { hook, id, name: names.get(&id).cloned().unwrap_or_default() });
        }
    }
    Ok(found)
}

/// All of `union bpf_attr` for `BPF_PROG_QUERY`, as of Linux 6.6; what an older one does not know is zero, which it accepts.
///
/// Not only the part that is asked for: Linux 6.17 to 7.1 write `revision` without a look at the size they were given
/// (kernel commit 21c4b99b27f3 ended it), and with a shorter one that would be the caller's stack.
#[repr(C)]
struct Query {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    pad: u32,
    program_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

fn query(target: BorrowedFd<'_>, attach_type: u32) -> io::Result<Vec<u32>> {
    // The kernel has a limit of 64 programs for each hook of a cgroup.
    let mut ids = [0_u32; 64];
    let mut query = Query {
        target: target.as_raw_fd().cast_unsigned(),
        attach_type,
        query_flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: ids.len() as u32,
        pad: 0,
        program_attach_flags: 0,
        link_ids: 0,
        link_attach_flags: 0,
        revision: 0,
    };
    let size = size_of::<Query>();
    // SAFETY: the kernel reads and writes `size` bytes of the query, and at most `count` ids.
    let done = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut query, size) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(ids[..ids.len().min(query.count as usize)].to_vec())
}

const BPF_PROG_QUERY: libc::c_long = 16;
const _: () = assert!(size_of::<Query>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_its_hook() {
        // This one is attached to a map.
        let hooked = names::PROGRAMS.into_iter().filter(|program| *program != names::REDIRECT);
        assert!(hooked.into_iter().all(|program| hook_of(program).is_some()));
    }
}
