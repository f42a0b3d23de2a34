//! The maps that hold a [`State`], behind a trait: the kernel's own, and a fake for tests of what feeds them.

use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, MapData, MapError};
use mesh_common::config::{Knobs, PORT_WORDS};
use mesh_common::flow::{Addr, NetKey};
use mesh_common::names;
use mesh_common::workload::Workload;

use crate::kernel::plan::{Excluded, MapOp, Network, State};

/// Where a [`State`] is kept.
pub(crate) trait Tables: Send {
    /// Makes one change. Forgetting what is not there is no error.
    fn apply(&mut self, op: &MapOp) -> Result<(), TableError>;

    /// What is there now.
    fn read(&self) -> Result<State, TableError>;
}

/// Why a map could not be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The programs were built without it.
    #[error("the kernel programs have no map {map}; agent and programs are of different builds")]
    Missing {
        /// Its name.
        map: &'static str,
    },
    /// It holds as much as it can.
    #[error("map {map} is full")]
    Full {
        /// Its name.
        map: &'static str,
    },
    /// Anything else the kernel said.
    #[error("map {map}")]
    Refused {
        /// Its name.
        map: &'static str,
        /// What it said.
        source: Box<MapError>,
    },
}

/// The kernel's maps.
pub(crate) struct KernelTables {
    knobs: Array<MapData, Knobs>,
    netns: HashMap<MapData, u64, Workload>,
    cgroups: HashMap<MapData, u64, Workload>,
    locals: HashMap<MapData, Addr, u64>,
    excluded: ExcludedTables,
}

struct ExcludedTables {
    ports: Array<MapData, u64>,
    networks: LpmTrie<MapData, NetKey, u8>,
}

impl KernelTables {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, TableError> {
        Ok(Self {
            knobs: take(ebpf, names::KNOBS)?,
            netns: take(ebpf, names::NETNS)?,
            cgroups: take(ebpf, names::CGROUPS)?,
            locals: take(ebpf, names::LOCALS)?,
            excluded: ExcludedTables::take(ebpf)?,
        })
    }
}

impl ExcludedTables {
    fn take(ebpf: &mut Ebpf) -> Result<Self, TableError> {
        Ok(Self { ports: take(ebpf, names::EXCLUDED_PORTS)?, networks: take(ebpf, names::EXCLUDED_CIDRS)? })
    }

    fn set_ports(&mut self, word: u32, bits: u64) -> Result<(), TableError> {
        self.ports.set(word, bits, 0).map_err(refused(names::EXCLUDED_PORTS))
    }

    fn exclude(&mut self, network: Network) -> Result<(), TableError> {
        self.networks.insert(&trie_key(network), 1, 0).map_err(refused(names::EXCLUDED_CIDRS))
    }

    fn include(&mut self, network: Network) -> Result<(), TableError> {
        forgotten(self.networks.remove(&trie_key(network)), names::EXCLUDED_CIDRS)
    }

    fn read(&self) -> Result<Excluded, TableError> {
        let mut excluded = Excluded::default();
        for word in 0..PORT_WORDS {
            let bits = self.ports.get(&word, 0).map_err(refused(names::EXCLUDED_PORTS))?;
            if bits != 0 {
                excluded.ports.insert(word, bits);
            }
        }
        for key in self.networks.keys() {
            let key = key.map_err(refused(names::EXCLUDED_CIDRS))?;
            excluded.networks.insert(Network::from_kernel(key.data(), key.prefix_len()));
        }
        Ok(excluded)
    }
}

impl Tables for KernelTables {
    fn apply(&mut self, op: &MapOp) -> Result<(), TableError> {
        match *op {
            MapOp::ForgetNetns(cookie) => forgotten(self.netns.remove(&cookie), names::NETNS),
            MapOp::ForgetCgroup(id) => forgotten(self.cgroups.remove(&id), names::CGROUPS),
            MapOp::ForgetLocal(address) => forgotten(self.locals.remove(&address.into()), names::LOCALS),
            MapOp::LearnLocal(address, cookie) => {
                self.locals.insert(Addr::from(address), cookie, 0).map_err(refused(names::LOCALS))
            }
            MapOp::Knobs(knobs) => self.knobs.set(0, knobs, 0).map_err(refused(names::KNOBS)),
            MapOp::Ports { word, bits } => self.excluded.set_ports(word, bits),
            MapOp::Exclude(network) => self.excluded.exclude(network),
            MapOp::Include(network) => self.excluded.include(network),
            MapOp::LearnCgroup(id, workload) => self.cgroups.insert(id, workload, 0).map_err(refused(names::CGROUPS)),
            MapOp::LearnNetns(cookie, workload) => {
                self.netns.insert(cookie, workload, 0).map_err(refused(names::NETNS))
            }
        }
    }

    fn read(&self) -> Result<State, TableError> {
        Ok(State {
            knobs: self.knobs.get(&0, 0).map_err(refused(names::KNOBS))?,
            netns: self.netns.iter().collect::<Result<_, _>>().map_err(refused(names::NETNS))?,
            cgroups: self.cgroups.iter().collect::<Result<_, _>>().map_err(refused(names::CGROUPS))?,
            locals: self
                .locals
                .iter()
                .map(|entry| entry.map(|(address, cookie)| (address.into(), cookie)))
                .collect::<Result<_, _>>()
                .map_err(refused(names::LOCALS))?,
            excluded: self.excluded.read()?,
        })
    }
}

/// The map of that name, out of the loaded object.
pub(crate) fn take<M>(ebpf: &mut Ebpf, map: &'static str) -> Result<M, TableError>
where
    M: TryFrom<aya::maps::Map, Error = MapError>,
{
    let found = ebpf.take_map(map).ok_or(TableError::Missing { map })?;
    M::try_from(found).map_err(refused(map))
}

pub(crate) fn refused(map: &'static str) -> impl Fn(MapError) -> TableError {
    move |source| match &source {
        MapError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::E2BIG) => TableError::Full { map },
        // A trie says it so.
        MapError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::ENOSPC) => {
            TableError::Full { map }
        }
        _ => TableError::Refused { map, source: Box::new(source) },
    }
}

pub(crate) fn forgotten(result: Result<(), MapError>, map: &'static str) -> Result<(), TableError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result.map_err(refused(map)),
    }
}

fn trie_key(network: Network) -> Key<NetKey> {
    let (key, prefix) = network.to_kernel();
    Key::new(prefix, key)
}

/// Maps that are no more than a [`State`], and fail when told to.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct FakeTables {
    pub(crate) state: State,
    pub(crate) failures: u32,
    pub(crate) log: Vec<MapOp>,
}

#[cfg(test)]
impl Tables for std::sync::Arc<std::sync::Mutex<FakeTables>> {
    fn apply(&mut self, op: &MapOp) -> Result<(), TableError> {
        let mut fake = self.lock().unwrap();
        if fake.failures > 0 {
            fake.failures -= 1;
            return Err(TableError::Full { map: names::NETNS });
        }
        fake.log.push(op.clone());
        let state = &mut fake.state;
        match *op {
            MapOp::ForgetNetns(cookie) => drop(state.netns.remove(&cookie)),
            MapOp::ForgetCgroup(id) => drop(state.cgroups.remove(&id)),
            MapOp::ForgetLocal(address) => drop(state.locals.remove(&address)),
            MapOp::LearnLocal(address, cookie) => drop(state.locals.insert(address, cookie)),
            MapOp::Knobs(knobs) => state.knobs = knobs,
            MapOp::Ports { word, bits: 0 } => drop(state.excluded.ports.remove(&word)),
            MapOp::Ports { word, bits } => drop(state.excluded.ports.insert(word, bits)),
            MapOp::Exclude(network) => drop(state.excluded.networks.insert(network)),
            MapOp::Include(network) => drop(state.excluded.networks.remove(&network)),
            MapOp::LearnCgroup(id, workload) => drop(state.cgroups.insert(id, workload)),
            MapOp::LearnNetns(cookie, workload) => drop(state.netns.insert(cookie, workload)),
        }
        Ok(())
    }

    fn read(&self) -> Result<State, TableError> {
        Ok(self.lock().unwrap().state.clone())
    }
}
