//! What an earlier agent left in the maps of services, read once at the start.
//!
//! It serves on until the first configuration says otherwise. And it tells which endpoints connections may still have: one that
//! went while no agent ran is missed by nobody else. Of an endpoint that nothing new was sent to it tells only for UDP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_common::service::{ServiceKey, Target};

use crate::kernel::maps::TableError;
use crate::kernel::service_maps::ServiceMaps;
use crate::kernel::services::room::Written;
use crate::kernel::services::{Live, place};
use crate::model::service::{Service, Services};

/// What was found.
pub(super) struct Found {
    pub(super) live: BTreeMap<ServiceKey, Live>,
    /// Sets that no service names.
    pub(super) nameless: Vec<Written>,
    /// The highest number that a set may have had.
    pub(super) last_set: u32,
    /// The services and their endpoints; shares are not told, and not needed.
    pub(super) served: Services,
}

impl Found {
    pub(super) fn read(maps: &dyn ServiceMaps) -> Result<Self, TableError> {
        let services = maps.services()?;
        let mut sets: BTreeMap<u32, (Written, BTreeSet<Target>)> = BTreeMap::new();
        for (key, choice) in maps.choices()? {
            let (written, targets) = sets.entry(key.set).or_default();
            written.indexes.push(key.index);
            targets.extend([choice.first, choice.other]);
        }
        for key in maps.block_keys()? {
            let (written, _) = sets.entry(key.set).or_default();
            written.blocks = written.blocks.max(key.index + 1);
        }
        sets.iter_mut().for_each(|(set, (written, _))| written.set = *set);
        // Agents that reserved no numbers are known by what they left.
        let named = services.values().map(|entry| entry.set);
        let last_set = sets.keys().copied().chain(named).max().unwrap_or(0).max(maps.reserved()?);
        let (mut live, mut served) = (BTreeMap::new(), Services::default());
        for (key, entry) in services {
            let (written, targets) = sets.remove(&entry.set).unwrap_or_default();
            served.0.insert(place(&key), Arc::new(service(&targets)));
            live.insert(key, Live { service: None, entry, written });
        }
        let nameless = sets.into_values().map(|(written, _)| written).collect();
        Ok(Self { live, nameless, last_set, served })
    }
}

fn service(targets: &BTreeSet<Target>) -> Service {
    let ends = targets.iter().filter(|target| !target.is_nowhere());
    let shares = ends.map(|end| (Some(SocketAddr::new(end.addr.into(), end.port.get())), 1.0)).collect();
    Service { listener: "left by an earlier agent".into(), shares, resting: Vec::new(), by_client: None }
}
