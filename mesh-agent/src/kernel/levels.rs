//! How full the maps are that can be full.
//!
//! What the agent writes it knows. What the programs write is counted here, seldom, and many entries to a system call; a map of
//! sockets has no such call, and is walked.

use std::collections::BTreeMap;

use aya::Ebpf;
use aya::maps::{Map, MapData, SockHash};
use mesh_common::accelerate::Pair;
use mesh_common::flow::{FlowKey, Hidden};
use mesh_common::names;
use tracing::warn;

use crate::kernel::acceleration::Acceleration;
use crate::kernel::batch::BatchMap;
use crate::kernel::maps::{TableError, refused};
use crate::model::figures::MapLevel;

/// What is counted: a map's name, and how many entries it has.
pub(crate) type Entries = (&'static str, usize);

/// The maps that can be full, with their bounds, and those the programs write.
pub(crate) struct Levels {
    bounds: BTreeMap<&'static str, u32>,
    handshakes: BatchMap<FlowKey, Hidden>,
    pairs: Option<BatchMap<FlowKey, Pair>>,
    sockets: Option<SockHash<MapData, FlowKey>>,
}

impl Levels {
    /// Of a loaded object from which no map is taken yet, but that of accelerated sockets.
    pub(crate) fn take(ebpf: &mut Ebpf, acceleration: Option<&Acceleration>) -> Result<Self, TableError> {
        let mut bounds = BTreeMap::new();
        for name in names::MAPS.into_iter().chain(names::ACCELERATION_MAPS) {
            // Arrays are never full, what lies with sockets has no bound of its own, and a ring counts what it loses.
            if let Some(Map::HashMap(data) | Map::LpmTrie(data) | Map::SockHash(data)) = ebpf.map(name) {
                // Of the map as it is: one that is taken over may have been made with another bound.
                bounds.insert(name, data.info().map_err(refused(name))?.max_entries());
            }
        }
        let (mut pairs, mut sockets) = (None, None);
        if let Some(acceleration) = acceleration {
            let (map, bound) = acceleration.sockets()?;
            bounds.insert(names::SOCKETS, bound);
            (pairs, sockets) = (Some(BatchMap::take(ebpf, names::PAIRS)?), Some(map));
        }
        Ok(Self { bounds, handshakes: BatchMap::take(ebpf, names::HANDSHAKES)?, pairs, sockets })
    }

    /// Counts what the programs wrote. For now and then: it takes a system call for every few thousand entries.
    pub(crate) fn count(&self) -> Vec<Entries> {
        let mut found = vec![(names::HANDSHAKES, self.handshakes.count(self.bound(names::HANDSHAKES)))];
        found.extend(self.pairs.iter().map(|pairs| (names::PAIRS, pairs.count(self.bound(names::PAIRS)))));
        found.extend(self.sockets.iter().map(|sockets| {
            // What goes meanwhile has the walk begin anew: the bound ends it.
            let keys = sockets.keys().take(self.bound(names::SOCKETS));
            (names::SOCKETS, Ok(keys.filter(Result::is_ok).count()))
        }));
        let counted = found.into_iter().filter_map(|(map, count)| match count {
            Ok(count) => Some((map, count)),
            Err(error) => {
                warn!(%error, "how full a map is cannot be found out");
                None
            }
        });
        counted.collect()
    }

    /// Of these maps, how full they are.
    pub(crate) fn of(&self, entries: impl IntoIterator<Item = Entries>) -> Vec<MapLevel> {
        let level = |(map, entries)| self.bounds.get(map).map(|&max| MapLevel { map, entries, max });
        entries.into_iter().filter_map(level).collect()
    }

    fn bound(&self, map: &'static str) -> usize {
        self.bounds.get(map).map_or(0, |&max| max as usize)
    }
}
