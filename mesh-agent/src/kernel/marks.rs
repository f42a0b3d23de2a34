//! The mark on the agent's inbound listeners: what is accepted from them is the agent's to measure.
//!
//! The kernel has no other way to tell the agent's sockets in a pod's namespace from the app's: a steered connection's socket has
//! the app's address and port. An accepted socket inherits the mark of its listener before any program sees it.

use std::os::fd::AsRawFd;

use aya::maps::{MapData, SkStorage};
use mesh_common::event::Watched;
use mesh_common::names;
use tracing::warn;

use crate::kernel::maps::refused;

/// Puts marks on sockets.
pub(crate) struct AgentMarks(SkStorage<MapData, Watched>);

impl AgentMarks {
    pub(crate) fn new(watched: SkStorage<MapData, Watched>) -> Self {
        Self(watched)
    }

    /// Marks them. Without its mark a listener works all the same; its connections are measured twice.
    pub(crate) fn mark<'a, S: AsRawFd + 'a>(&mut self, listeners: impl IntoIterator<Item = &'a S>) {
        for listener in listeners {
            if let Err(error) = self.0.insert(listener, Watched::agent(), 0).map_err(refused(names::WATCHED)) {
                warn!(%error, "a listener in a pod is not marked as the agent's: its connections are listed twice");
            }
        }
    }
}
