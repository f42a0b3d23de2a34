//! Pins: what keeps programs and maps in the kernel when the agent that loaded them is gone.
//!
//! [`folder`] is where a running agent has them. Here are `mesh-agent uninstall`, which removes every trace of an agent that ended
//! or was killed, and `mesh-agent load`, whose pinned programs are attached to nothing: they are there to be looked at
//! (`bpftool prog`), and to prove that this kernel takes them.

pub(crate) mod folder;

use std::path::{Path, PathBuf};
use std::{fs, io};

use aya::pin::PinError;
use aya::programs::ProgramError;
use mesh_common::names;

use crate::kernel::bpffs;
use crate::kernel::cgroup::Cgroups;
use crate::kernel::loader::{self, KernelError};
use crate::kernel::pin::folder::Folder;
use crate::kernel::services::Limits;

/// Why programs could not be pinned or unpinned.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// The programs.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Something is pinned there already.
    #[error("{path} exists; remove it with: mesh-agent uninstall --pin-path {path}", path = path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// An agent runs that has its pins there.
    #[error(
        "{who} has its pins at {path}; end it first, or use another mesh.kernel.pin_path",
        who = by.map_or_else(|| "another agent".to_owned(), |pid| format!("the agent with process id {pid}")),
        path = path.display()
    )]
    Taken {
        /// The folder.
        path: PathBuf,
        /// Its process, if that can be seen from here.
        by: Option<u32>,
    },
    /// An agent made the pins that this one cannot go on from.
    #[error(
        "{path} holds what an agent of kernel interface {found} has pinned, and this one has interface {own}; run that agent, or \
         remove the pins with: mesh-agent uninstall --pin-path {path}",
        path = path.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// That agent's version.
        found: u32,
        /// This one's.
        own: u32,
    },
    /// The folder is on another file system.
    #[error("{path} is not on a BPF file system; choose a folder under /sys/fs/bpf", path = path.display())]
    NotBpffs {
        /// The folder.
        path: PathBuf,
    },
    /// A file or folder.
    #[error("cannot write {path}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A pin.
    #[error("cannot pin {path}", path = path.display())]
    Pin {
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        source: PinError,
    },
    /// The kernel does not tell about a program it took.
    #[error("cannot read back program {program}")]
    Info {
        /// Its name.
        program: &'static str,
        /// What the kernel said.
        source: Box<ProgramError>,
    },
}

/// A program this kernel takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its name.
    pub program: &'static str,
    /// Instructions the verifier walked; kernels before 5.16 do not tell.
    pub instructions: Option<u32>,
}

/// Whether an agent that has ended left programs at `pin_path`. They go on doing what they did for the workloads of then: services of
/// the kernel's own are served, and who is to be enforced is refused.
#[must_use]
pub fn are_left_behind(pin_path: &Path) -> bool {
    folder::owner(pin_path).is_some() && folder::holder(pin_path).is_none()
}

/// Loads every program and pins it and the maps under `pin_path`, which must not exist.
///
/// # Errors
/// See [`PinsError`]. Nothing stays behind.
pub fn load(pin_path: &Path) -> Result<Vec<Verified>, PinsError> {
    if pin_path.exists() {
        return Err(PinsError::Exists { path: pin_path.to_owned() });
    }
    let folder = Folder::claim(pin_path)?;
    pin_all(pin_path).inspect_err(|_| {
        if let Err(error) = folder.remove() {
            tracing::warn!(%error, "some pins stay behind");
        }
    })
}

/// Removes everything under `pin_path`: programs leave their hooks, maps are freed. With it go the cgroup that the agent made for
/// itself, and the file system, if an agent mounted it and nothing else is on it. Nothing there is no error.
///
/// # Errors
/// See [`PinsError`]. [`PinsError::Taken`] if the agent still runs.
pub fn uninstall(pin_path: &Path) -> Result<(), PinsError> {
    if !pin_path.exists() {
        return bpffs::release(pin_path);
    }
    if !bpffs::holds(pin_path).map_err(io_error(pin_path))? {
        return Err(PinsError::NotBpffs { path: pin_path.to_owned() });
    }
    let folder = Folder::claim(pin_path)?;
    let owner = folder::owner(pin_path);
    folder.remove()?;
    if let (Some(owner), Ok(cgroups)) = (owner, Cgroups::find()) {
        cgroups.remove_agents_own(owner.cgroup);
    }
    Ok(())
}

fn pin_all(pin_path: &Path) -> Result<Vec<Verified>, PinsError> {
    let mut ebpf = loader::object(false, None, Limits::default(), None)?;
    let (programs, maps) = (pin_path.join(names::PROGRAMS_FOLDER), pin_path.join(names::MAPS_FOLDER));
    for folder in [&programs, &maps] {
        fs::create_dir_all(folder).map_err(io_error(folder))?;
    }
    let mut verified = Vec::new();
    for program in names::PROGRAMS {
        loader::load_program(&mut ebpf, program)?;
        let path = programs.join(program);
        let loaded = ebpf.program_mut(program).ok_or(KernelError::NoSuchProgram { program })?;
        loaded.pin(&path).map_err(|source| PinsError::Pin { path, source })?;
        let info = loaded.info().map_err(|source| PinsError::Info { program, source: Box::new(source) })?;
        verified.push(Verified { program, instructions: info.verified_instruction_count() });
    }
    for name in names::MAPS {
        let path = maps.join(name);
        let map = ebpf.map(name).ok_or(loader::missing_map(name))?;
        map.pin(&path).map_err(|source| PinsError::Pin { path, source })?;
    }
    Ok(verified)
}

pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> PinsError {
    let path = path.to_owned();
    move |source| PinsError::Io { path, source }
}

pub(crate) fn remove_if_there(path: &Path) -> Result<(), PinsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path)(error)),
        _ => Ok(()),
    }
}
