//! The programs: into the kernel, onto the root of the cgroups, and into each pod's namespace.
//!
//! Maps and links are pinned in the agent's [`Folder`]. What an agent before left there is taken over: its maps with what they
//! hold, its links with another program, so that nothing is ever off its hook.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd};

use aya::maps::{MapData, SkStorage, SockMap};
use aya::programs::{CgroupSockAddr, CgroupSockopt, Program, ProgramError, ProgramInfo, SkLookup, SkMsg, SockOps};
use aya::{Ebpf, EbpfError, EbpfLoader};
use aya_log::EbpfLogger;
use mesh_common::accelerate::Leg;
use mesh_common::config::INBOUND_EVENT_BYTES;
use mesh_common::datagram::Flows;
use mesh_common::flow::Family;
use mesh_common::kept::Kept;
use mesh_common::names;
use mesh_common::workload::Workload;

use crate::kernel::acceleration::Acceleration;
use crate::kernel::capability;
use crate::kernel::cgroup::CgroupError;
use crate::kernel::claims::ClaimTable;
use crate::kernel::counters::Counters;
use crate::kernel::events::Ring;
use crate::kernel::levels::Levels;
use crate::kernel::log::Logger;
use crate::kernel::maps::{KernelTables, TableError, refused, take};
use crate::kernel::outbound::OutboundListeners;
use crate::kernel::pin::folder::{Folder, Link};
use crate::kernel::policy::maps::KernelPolicies;
use crate::kernel::policy::names::RuleNames;
use crate::kernel::policy::table::PolicyTable;
use crate::kernel::pulse::PulseMap;
use crate::kernel::query;
use crate::kernel::service_maps::KernelServices;
use crate::kernel::services::Limits;
use crate::model::service::Claimed;

/// Why the kernel side can't be had. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The process may not.
    #[error("the kernel side needs {missing}; run as root or grant them, or use --no-kernel to go without")]
    NotAllowed {
        /// The capabilities that are missing.
        missing: String,
    },
    /// The object as a whole.
    #[error("the kernel programs do not load here; see `mesh-agent check`, or use --no-kernel to go without")]
    Object(#[source] Box<EbpfError>),
    /// One program.
    #[error("the kernel refuses program {program}; see `mesh-agent check`, or use --no-kernel to go without")]
    Program {
        /// Its name.
        program: &'static str,
        /// What the kernel said, with the verifier's words if there are any.
        source: Box<ProgramError>,
    },
    /// A program's hook.
    #[error("program {program} cannot be attached or pinned")]
    Attach {
        /// Its name.
        program: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The agent's build is broken.
    #[error("the kernel programs have no program {program}; agent and programs are of different builds")]
    NoSuchProgram {
        /// Its name.
        program: &'static str,
    },
    /// Run counts and times of programs.
    #[error(
        "mesh.kernel.stats: the kernel does not collect run times of programs for this agent; that needs Linux 5.8 and CAP_SYS_ADMIN"
    )]
    Stats(#[source] io::Error),
    /// A map.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The cgroup file system.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

/// The programs that serve all pods.
pub(crate) struct Programs {
    ebpf: Ebpf,
    acceleration: Option<Acceleration>,
    links: Vec<Link>,
}

/// What came with them for other parts of the agent to use.
pub(crate) struct Parts {
    pub(crate) programs: Programs,
    pub(crate) tables: KernelTables,
    pub(crate) services: KernelServices,
    pub(crate) outbound: OutboundListeners,
    pub(crate) pulse: PulseMap,
    pub(crate) policies: KernelPolicies,
    pub(crate) kept: SkStorage<MapData, Kept>,
    pub(crate) flows: SkStorage<MapData, Flows>,
    pub(crate) legs: Option<SkStorage<MapData, Leg>>,
    pub(crate) counters: Counters,
    pub(crate) levels: Levels,
    pub(crate) events: Ring,
    pub(crate) logger: Option<Logger>,
}

/// By what an inbound program tells of itself.
pub(crate) struct Told {
    pub(crate) events: Ring,
    pub(crate) logger: Option<Logger>,
}

/// The program of one pod's namespace. Dropping it leaves it on its hook if it is pinned, and detaches it if not.
pub(crate) struct Inbound {
    /// Who may connect past the agent.
    pub(crate) policies: PolicyTable,
    claims: ClaimTable,
    ebpf: Ebpf,
    listeners: SockMap<MapData>,
    /// Once it is attached.
    link: Option<Link>,
}

/// Where programs are attached, and what remains of them.
#[derive(Clone, Copy)]
pub(crate) struct Pinning<'a> {
    pub(crate) folder: &'a Folder,
    /// They stay when the agent ends.
    pub(crate) persist: bool,
}

impl Inbound {
    /// Puts it on its hook in the namespace with this cookie: from now on it sees what comes in there.
    pub(crate) fn attach(
        &mut self,
        (netns, cookie): (BorrowedFd<'_>, u64),
        pinning: Pinning<'_>,
    ) -> Result<(), KernelError> {
        self.link = Some(attach(&mut self.ebpf, names::INBOUND, &inbound_link(cookie), netns, pinning)?);
        Ok(())
    }

    /// What is to be brought to the agent; at first, everything is.
    pub(crate) fn claim(&mut self, claimed: &Claimed) -> Result<(), TableError> {
        self.claims.set(claimed)
    }

    /// To the kernel it is now as if the agent's listeners were closed.
    pub(crate) fn hide_listeners(&mut self) {
        for family in [Family::V4, Family::V6] {
            // Nothing there is the ordinary case for a pod without IPv6.
            let _ = self.listeners.clear_index(&family.slot());
        }
    }

    /// What the kernel tells of it.
    pub(crate) fn info(&self) -> Option<ProgramInfo> {
        self.ebpf.program(names::INBOUND)?.info().ok()
    }

    /// Takes it off its hook, pinned or not.
    pub(crate) fn detach(self) {
        self.link.into_iter().for_each(Link::detach);
    }
}

/// Whether this process may do any of this at all.
pub(crate) fn may_load() -> Result<(), KernelError> {
    let missing: Vec<_> = capability::missing().unwrap_or_default().iter().map(|needed| needed.name).collect();
    if missing.is_empty() { Ok(()) } else { Err(KernelError::NotAllowed { missing: missing.join(" and ") }) }
}

/// Loads what serves all pods, and acceleration if it is wanted. Nothing is attached yet.
pub(crate) fn load(log: bool, limits: Limits, accelerate: bool, folder: &Folder) -> Result<Parts, KernelError> {
    // Connections that an agent before has accelerated go on, whatever is wanted of new ones.
    let accelerate = accelerate || folder.map(names::SOCKETS).exists();
    let mut ebpf = prepare(log, None, limits, accelerate, Some(folder))?;
    for name in names::CGROUP_PROGRAMS {
        load_program(&mut ebpf, name)?;
    }
    let acceleration = if accelerate { Some(Acceleration::load(&mut ebpf)?) } else { None };
    // A program keeps the maps it uses; those of the inbound program are not needed in this copy.
    drop((ebpf.take_map(names::LISTENERS), ebpf.take_map(names::CLAIMED)));
    Ok(Parts {
        // First: it looks at maps that others take.
        levels: Levels::take(&mut ebpf, acceleration.as_ref())?,
        tables: KernelTables::take(&mut ebpf)?,
        services: KernelServices::take(&mut ebpf)?,
        outbound: OutboundListeners::new(take(&mut ebpf, names::OUTBOUND)?),
        pulse: take(&mut ebpf, names::PULSE)?,
        policies: KernelPolicies::take(&mut ebpf)?,
        kept: take(&mut ebpf, names::KEPT)?,
        flows: take(&mut ebpf, names::FLOWS)?,
        legs: if accelerate { Some(take(&mut ebpf, names::LEGS)?) } else { None },
        counters: Counters::take(&mut ebpf)?,
        events: take(&mut ebpf, names::EVENTS)?,
        logger: if log { logger(&mut ebpf) } else { None },
        programs: Programs { ebpf, acceleration, links: Vec::new() },
    })
}

impl Programs {
    /// Those that are attached.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        let acceleration: &[_] = if self.acceleration.is_some() { &names::ACCELERATION_PROGRAMS } else { &[] };
        names::CGROUP_PROGRAMS.into_iter().chain(acceleration.iter().copied())
    }

    /// What the kernel tells of each.
    pub(crate) fn infos(&self) -> impl Iterator<Item = (&'static str, ProgramInfo)> {
        self.names().filter_map(|name| Some((name, self.ebpf.program(name)?.info().ok()?)))
    }

    /// Attaches them: from now on every `connect` below `cgroup` is looked at. Where an agent before has left its programs, these
    /// take their places.
    pub(crate) fn attach(&mut self, cgroup: &File, pinning: Pinning<'_>) -> Result<(), KernelError> {
        if let Some(acceleration) = &self.acceleration {
            self.links.extend(acceleration.attach(&mut self.ebpf, cgroup.as_fd(), pinning)?);
        }
        // What shows and carries addresses comes before what hides them: the last named first.
        for name in names::CGROUP_PROGRAMS.into_iter().rev() {
            let link = attach(&mut self.ebpf, name, name, cgroup.as_fd(), pinning)?;
            self.links.push(link);
        }
        Ok(())
    }
}

/// Loads an instance of the inbound program for `workload`, whose `listeners` these are. It is attached when it has been told what it
/// is to do.
pub(crate) fn inbound<'a>(
    workload: &Workload,
    listeners: impl IntoIterator<Item = (Family, &'a TcpListener)>,
    rules: &RuleNames,
    log: bool,
    folder: &Folder,
) -> Result<(Inbound, Told), KernelError> {
    let mut ebpf = object(log, Some(workload), Limits::LEAST, Some(folder))?;
    load_program(&mut ebpf, names::INBOUND)?;
    let mut map: SockMap<MapData> = take(&mut ebpf, names::LISTENERS)?;
    for (family, listener) in listeners {
        map.set(family.slot(), listener, 0).map_err(refused(names::LISTENERS))?;
    }
    let claims = ClaimTable::take(&mut ebpf)?;
    let policies = PolicyTable::new(Box::new(KernelPolicies::take(&mut ebpf)?), rules.clone())?;
    let told = Told { events: take(&mut ebpf, names::EVENTS)?, logger: if log { logger(&mut ebpf) } else { None } };
    for name in names::MAPS.into_iter().chain(names::ACCELERATION_MAPS) {
        drop(ebpf.take_map(name));
    }
    Ok((Inbound { policies, claims, ebpf, listeners: map, link: None }, told))
}

/// The name of the link of the inbound program in the namespace with this cookie.
pub(crate) fn inbound_link(cookie: u64) -> String {
    format!("{}-{cookie}", names::INBOUND)
}

/// Attaches a program that is loaded.
pub(crate) fn attach(
    ebpf: &mut Ebpf,
    name: &'static str,
    link: &str,
    target: BorrowedFd<'_>,
    pinning: Pinning<'_>,
) -> Result<Link, KernelError> {
    let hook = query::hook_of(name).ok_or(KernelError::NoSuchProgram { program: name })?;
    let refusal = |source| KernelError::Program { program: name, source: Box::new(source) };
    let fd = program(ebpf, name)?.fd().map_err(refusal)?;
    let attached = pinning.folder.attach(link, pinning.persist, fd.as_fd(), (target, hook));
    attached.map_err(|source| KernelError::Attach { program: name, source })
}

/// The object's maps made and its programs relocated, none of them loaded. With a folder, the maps are those that are pinned
/// there, and pinned there if they were not.
pub(crate) fn object(
    log: bool,
    pod: Option<&Workload>,
    limits: Limits,
    folder: Option<&Folder>,
) -> Result<Ebpf, KernelError> {
    prepare(log, pod, limits, false, folder)
}

/// As [`object`], with room for accelerated connections or without.
pub(crate) fn prepare(
    log: bool,
    pod: Option<&Workload>,
    limits: Limits,
    accelerate: bool,
    folder: Option<&Folder>,
) -> Result<Ebpf, KernelError> {
    may_load()?;
    let level = if log { aya_log::Level::Info as u8 } else { 0 };
    let mut loader = EbpfLoader::new();
    // The programs read no kernel structures, so the kernel's BTF (megabytes) need not be parsed.
    loader.btf(None).override_global(names::LOG_LEVEL, &level, true);
    let entries = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    // One entry is no service, but says which numbers sets have had.
    loader.map_max_entries(names::SERVICES, entries(limits.services + 1));
    // Twice what may be in use: an update writes the new choices before the old ones go.
    loader.map_max_entries(names::CHOICES, entries(2 * limits.choices));
    loader.map_max_entries(names::SLOTS, entries(2 * limits.blocks));
    if !log {
        loader.map_max_entries(names::LOG, SMALLEST_RING);
    }
    if !accelerate {
        // A map of sockets takes two megabytes before anything is in it.
        loader.map_max_entries(names::SOCKETS, 1).map_max_entries(names::PAIRS, 1);
    }
    if let Some(pod) = pod {
        loader.override_global(names::POD, pod, true);
        loader.map_max_entries(names::EVENTS, INBOUND_EVENT_BYTES);
        // As many as one workload has ports with a policy.
        loader.map_max_entries(names::RULED, 1024).map_max_entries(names::RULE_SETS, 1024);
        loader.map_max_entries(names::RULE_WHO, 1).map_max_entries(names::POD_ADDRS, 1);
    }
    if let Some(folder) = folder {
        let shared: &[&str] = if pod.is_some() { &names::SHARED } else { &names::MAPS };
        let sockets: &[&str] = if accelerate { &names::ACCELERATION_MAPS } else { &[] };
        for name in shared.iter().chain(sockets) {
            loader.map_pin_path(name, folder.map(name));
        }
    }
    loader.load(OBJECT).map_err(|source| KernelError::Object(Box::new(source)))
}

/// The error for a map the object lacks.
pub(crate) fn missing_map(map: &'static str) -> KernelError {
    TableError::Missing { map }.into()
}

pub(crate) fn load_program(ebpf: &mut Ebpf, name: &'static str) -> Result<(), KernelError> {
    let loaded = match program(ebpf, name)? {
        Program::SockOps(program) => SockOps::load(program),
        Program::CgroupSockAddr(program) => CgroupSockAddr::load(program),
        Program::CgroupSockopt(program) => CgroupSockopt::load(program),
        Program::SkMsg(program) => SkMsg::load(program),
        Program::SkLookup(program) => SkLookup::load(program),
        _ => return Err(KernelError::NoSuchProgram { program: name }),
    };
    loaded.map_err(|source| KernelError::Program { program: name, source: Box::new(source) })
}

pub(crate) fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Program, KernelError> {
    ebpf.program_mut(name).ok_or(KernelError::NoSuchProgram { program: name })
}

fn logger(ebpf: &mut Ebpf) -> Option<Logger> {
    EbpfLogger::init(ebpf).inspect_err(|error| tracing::warn!(%error, "the kernel programs' log cannot be read")).ok()
}

/// The kernel rounds it up to a page; with the log off nothing is ever written to it.
const SMALLEST_RING: u32 = 4096;

/// Built by the build script.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/mesh-ebpf"));
