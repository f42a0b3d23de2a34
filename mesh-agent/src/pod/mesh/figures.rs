//! How full the kernel's maps are and what its programs cost, kept for whoever asks: a scrape waits for no system call.

use std::sync::{Arc, Mutex, PoisonError};

use mesh_common::names;

use crate::kernel::levels::{Entries, Levels};
use crate::kernel::runs::RunStats;
use crate::model::figures::Figures;
use crate::pod::mesh::Mesh;

/// What is known, and by what.
pub(super) struct Board {
    levels: Levels,
    runs: RunStats,
    /// At the last look; empty before the first.
    counted: Vec<Entries>,
    shown: Arc<Mutex<Figures>>,
}

impl Board {
    pub(super) fn new(levels: Levels, runs: RunStats) -> Self {
        Self { levels, runs, counted: Vec::new(), shown: Arc::default() }
    }
}

impl Mesh {
    /// Reads how full the kernel's maps are and what its programs cost, as of the last [`Mesh::tick`]. For another thread to keep.
    pub fn figures_reader(&self) -> impl Fn() -> Figures + Send + Sync + 'static {
        let shown = Arc::clone(&self.board.shown);
        move || shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the agent knows is shown each time, what the kernel has to be asked for when `looks`.
    pub(super) fn show_figures(&mut self, looks: bool) {
        let board = &mut self.board;
        let programs = if looks || board.counted.is_empty() {
            board.counted = board.levels.count();
            board.counted.push((names::OUTBOUND, self.outbound.count()));
            let inbound = self.members.iter().filter_map(|it| Some((it.member.pod.id, it.inbound.as_ref()?)));
            Some(board.runs.read(&self.programs, inbound))
        } else {
            None
        };
        let state = self.sync.wanted();
        let own = [
            (names::NETNS, state.netns.len()),
            (names::CGROUPS, state.cgroups.len()),
            (names::LOCALS, state.locals.len()),
            (names::EXCLUDED_CIDRS, state.excluded.networks.len()),
        ];
        let entries = own.into_iter().chain(self.services.entries()).chain(self.policies.entries());
        let maps = board.levels.of(entries.chain(board.counted.iter().copied()));
        let mut shown = board.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.maps = maps;
        if let Some(programs) = programs {
            shown.programs = programs;
        }
    }
}
