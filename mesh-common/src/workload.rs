//! How the kernel programs know a workload: the value behind a namespace's cookie or a cgroup's id.

use crate::flow::{Family, PortBe};

/// A meshed workload, or the note that a namespace is shared and the cgroup decides.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its number on this node; never zero.
    pub pod: u32,
    outbound_v4: PortBe,
    outbound_v6: PortBe,
    mode: u8,
    shared: u8,
    pad: u16,
}

/// Key of a listener of the agent's. The port is part of it: an entry says that the agent listens there now, and nothing about
/// where it may have listened before.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerKey {
    /// The workload's number.
    pub pod: u32,
    /// Where it listens, on loopback.
    pub port: PortBe,
    /// [`Family::slot`].
    pub family: u16,
}

/// What happens to a workload's traffic where the mesh can't do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It passes untouched.
    Permissive,
    /// It is refused.
    Enforce,
}

impl Workload {
    /// A workload whose outbound listeners are at these ports of the loopback addresses; port zero: there is none.
    #[must_use]
    pub const fn new(pod: u32, mode: Mode, outbound_v4: PortBe, outbound_v6: PortBe) -> Self {
        let mode = match mode {
            Mode::Permissive => 0,
            Mode::Enforce => 1,
        };
        Self { pod, outbound_v4, outbound_v6, mode, shared: 0, pad: 0 }
    }

    /// What stands for a namespace in which several workloads live: its sockets belong to whose cgroup they are in.
    #[must_use]
    pub const fn by_cgroup() -> Self {
        Self { pod: 0, outbound_v4: PortBe(0), outbound_v6: PortBe(0), mode: 0, shared: 1, pad: 0 }
    }

    /// The same, let pass where the mesh can't do its work.
    #[must_use]
    pub const fn permissive(self) -> Self {
        Self { mode: 0, ..self }
    }

    /// Whether the cgroup decides who this is.
    #[inline(always)]
    #[must_use]
    pub const fn is_by_cgroup(&self) -> bool {
        self.shared != 0
    }

    /// What happens where the mesh can't do its work.
    #[inline(always)]
    #[must_use]
    pub const fn mode(&self) -> Mode {
        if self.mode == 0 { Mode::Permissive } else { Mode::Enforce }
    }

    /// Where the agent listens for what the workload sends.
    #[inline(always)]
    #[must_use]
    pub const fn outbound(&self, family: Family) -> Option<PortBe> {
        let port = match family {
            Family::V4 => self.outbound_v4,
            Family::V6 => self.outbound_v6,
        };
        if port.0 == 0 { None } else { Some(port) }
    }
}

impl ListenerKey {
    /// The key of a workload's outbound listener of one family.
    #[inline(always)]
    #[must_use]
    pub const fn new(pod: u32, family: Family, port: PortBe) -> Self {
        Self { pod, port, family: family.slot() as u16 }
    }
}

const _: () = assert!(size_of::<Workload>() == 12);
const _: () = assert!(size_of::<ListenerKey>() == 8);
