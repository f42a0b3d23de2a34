//! Where the self-test is played: a process that has left for a namespace and a cgroup of its own, with the programs of acceleration
//! attached there.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use aya::maps::{Array, MapData};
use mesh_common::ABI_VERSION;
use mesh_common::accelerate::Directions;
use mesh_common::config::Knobs;
use mesh_common::counter::Counter;
use mesh_common::names;

use crate::kernel::acceleration::Acceleration;
use crate::kernel::counters::Counters;
use crate::kernel::loader::{self, KernelError};
use crate::kernel::maps::{refused, take};
use crate::kernel::probe::chain;
use crate::kernel::selftest::checks::compare;
use crate::kernel::selftest::ends::{Network, Ordinary};
use crate::kernel::selftest::{Tried, sys};
use crate::kernel::services::Limits;
use crate::kernel::steering::KernelSteering;
use crate::model::flow::{PodId, Steering as _};

/// Sets the stage and tries everything. The error says what could not be had.
pub(super) fn act(cgroup: &Path) -> Result<Tried, String> {
    enter(cgroup).map_err(|error| error.to_string())?;
    let cgroup = File::open(cgroup).map_err(|error| error.to_string())?;
    let accelerated = load(cgroup.as_fd()).map_err(|error| chain(&error))?;
    let accelerated = Arc::new(accelerated);
    let checks = compare(&(Arc::new(Ordinary) as _), &(Arc::clone(&accelerated) as _));
    if accelerated.messages() == 0 {
        return Err("no byte went past TCP".to_owned());
    }
    Ok(Tried::All(checks))
}

/// Both are for good: the process ends with the test. Before any other thread is there, so that all of them are inside.
fn enter(cgroup: &Path) -> io::Result<()> {
    // The kernel takes 0 for the process that writes.
    fs::write(cgroup.join("cgroup.procs"), "0")?;
    sys::leave_network()?;
    sys::raise_loopback()
}

/// Accelerated as a connection from the agent to an app is.
struct Accelerated {
    steering: KernelSteering,
    counters: Counters,
    /// Dropped, they take the programs off their hooks.
    _links: Box<dyn Send + Sync>,
}

fn load(cgroup: BorrowedFd<'_>) -> Result<Accelerated, KernelError> {
    let mut ebpf = loader::prepare(false, None, Limits::LEAST, true, None)?;
    let acceleration = Acceleration::load(&mut ebpf)?;
    let links = acceleration.attach_for_now(&mut ebpf, cgroup)?;
    let mut knobs: Array<MapData, Knobs> = take(&mut ebpf, names::KNOBS)?;
    let directions = Directions::TO_AGENT.and(Directions::TO_APP);
    let wanted = Knobs { agent_cgroup: 0, abi: ABI_VERSION, accelerate: directions.bits() };
    knobs.set(0, wanted, 0).map_err(refused(names::KNOBS))?;
    let steering = KernelSteering::new(take(&mut ebpf, names::KEPT)?, Some(take(&mut ebpf, names::LEGS)?));
    let counters = Counters::take(&mut ebpf)?;
    Ok(Accelerated { steering, counters, _links: Box::new((links, acceleration)) })
}

impl Accelerated {
    fn messages(&self) -> u64 {
        let (wanted, _) = Counter::AcceleratedMessages.describe();
        self.counters.read().into_iter().find(|(name, ..)| *name == wanted).map_or(0, |(.., count)| count)
    }
}

impl Network for Accelerated {
    fn prepare(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        // Whom it is said to come from does not matter: nobody asks.
        self.steering.present_client(socket, PodId(1), ([192, 0, 2, 1], 1).into())
    }

    fn is_ready(&self, socket: BorrowedFd<'_>) -> bool {
        self.steering.is_accelerated(socket)
    }
}
