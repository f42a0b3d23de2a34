//! The agent's outbound listeners, shown to the kernel: what is in this map is listened at. The kernel itself takes out what is
//! closed.

use std::net::TcpListener;
use std::os::fd::AsRawFd as _;

use aya::maps::{MapData, SockHash};
use mesh_common::config::MAX_WORKLOADS;
use mesh_common::flow::Family;
use mesh_common::names;
use mesh_common::workload::{ListenerKey, Workload};
use tracing::warn;

use crate::kernel::maps::{TableError, refused};

/// The map.
pub(crate) struct OutboundListeners(SockHash<MapData, ListenerKey>);

impl OutboundListeners {
    pub(crate) fn new(map: SockHash<MapData, ListenerKey>) -> Self {
        Self(map)
    }

    /// From now on what `workload` sends may come to these.
    pub(crate) fn show<'a>(
        &mut self,
        workload: &Workload,
        listeners: impl IntoIterator<Item = (Family, &'a TcpListener)>,
    ) -> Result<(), TableError> {
        for (family, listener) in listeners {
            if let Some(key) = key(workload, family) {
                self.0.insert(key, listener.as_raw_fd(), 0).map_err(refused(names::OUTBOUND))?;
            }
        }
        Ok(())
    }

    /// How many there are, each found by a system call; two for a pod.
    pub(crate) fn count(&self) -> usize {
        self.0.keys().take(2 * MAX_WORKLOADS as usize).filter(Result::is_ok).count()
    }

    /// To the kernel it is now as if they were closed.
    pub(crate) fn hide(&mut self, workload: &Workload) {
        for key in [Family::V4, Family::V6].into_iter().filter_map(|family| key(workload, family)) {
            if let Err(error) = self.0.remove(&key).map_err(refused(names::OUTBOUND)) {
                warn!(%error, "the kernel steers to a listener until it is closed");
            }
        }
    }
}

fn key(workload: &Workload, family: Family) -> Option<ListenerKey> {
    Some(ListenerKey::new(workload.pod, family, workload.outbound(family)?))
}
