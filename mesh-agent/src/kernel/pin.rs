//! `mesh-agent load` and `unload`: every program verified by this kernel and pinned, and every trace of that removed.
//!
//! Pinned programs are attached to nothing. They are there to be looked at (`bpftool prog`), and to prove that this kernel
//! takes them.

use std::path::{Path, PathBuf};
use std::{fs, io};

use aya::pin::PinError;
use aya::programs::ProgramError;
use mesh_common::names;

use crate::kernel::bpffs;
use crate::kernel::loader::{self, KernelError};
use crate::kernel::services::Limits;

/// Why programs could not be pinned or unpinned.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// The programs.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Something is pinned there already.
    #[error("{path} exists; remove it with: mesh-agent unload --pin-path {path}", path = path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
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

/// Loads every program and pins it and the maps under `pin_path`, which must not exist.
///
/// # Errors
/// See [`PinsError`]. Nothing stays behind.
pub fn load(pin_path: &Path) -> Result<Vec<Verified>, PinsError> {
    if pin_path.exists() {
        return Err(PinsError::Exists { path: pin_path.to_owned() });
    }
    let mounted = mount_if_needed(pin_path)?;
    pin_all(pin_path).inspect_err(|_| {
        let undone = unload(pin_path).or_else(|_| mounted.as_deref().map_or(Ok(()), unmount));
        if let Err(error) = undone {
            tracing::warn!(%error, "some pins stay behind");
        }
    })
}

/// Removes everything under `pin_path`, and the file system if `load` mounted it and nothing else is on it. Nothing there is
/// no error.
///
/// # Errors
/// See [`PinsError`].
pub fn unload(pin_path: &Path) -> Result<(), PinsError> {
    if !bpffs::holds(pin_path).map_err(io_error(pin_path))? {
        return if pin_path.exists() { Err(PinsError::NotBpffs { path: pin_path.to_owned() }) } else { Ok(()) };
    }
    if pin_path.exists() {
        fs::remove_dir_all(pin_path).map_err(io_error(pin_path))?;
    }
    let mount = bpffs::mount_point(pin_path);
    if mount.join(MOUNTED_BY_LOAD).exists() { unmount(&mount) } else { Ok(()) }
}

fn pin_all(pin_path: &Path) -> Result<Vec<Verified>, PinsError> {
    let mut ebpf = loader::object(false, None, Limits::default())?;
    let (programs, maps) = (pin_path.join("programs"), pin_path.join("maps"));
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

/// The mount point, if it had to be made.
fn mount_if_needed(pin_path: &Path) -> Result<Option<PathBuf>, PinsError> {
    if bpffs::holds(pin_path).map_err(io_error(pin_path))? {
        return Ok(None);
    }
    if !pin_path.starts_with(bpffs::DEFAULT_MOUNT) {
        return Err(PinsError::NotBpffs { path: pin_path.to_owned() });
    }
    let mount = Path::new(bpffs::DEFAULT_MOUNT);
    bpffs::mount(mount).map_err(io_error(mount))?;
    let mark = mount.join(MOUNTED_BY_LOAD);
    fs::create_dir(&mark).map_err(io_error(&mark))?;
    Ok(Some(mount.to_owned()))
}

/// Unless somebody else has something there by now.
fn unmount(mount: &Path) -> Result<(), PinsError> {
    let others = fs::read_dir(mount).map_err(io_error(mount))?;
    // Only the kernel makes names with a dot here.
    let is_somebodys = |name: &str| name != MOUNTED_BY_LOAD && !name.contains('.');
    if others.flatten().any(|entry| is_somebodys(&entry.file_name().to_string_lossy())) {
        return Ok(());
    }
    bpffs::unmount(mount).map_err(io_error(mount))
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> PinsError {
    let path = path.to_owned();
    move |source| PinsError::Io { path, source }
}

/// A folder that says who mounted the file system it is in.
const MOUNTED_BY_LOAD: &str = "mounted_by_mesh_agent";
