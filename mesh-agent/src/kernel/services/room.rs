//! Where sets lie in the maps, how much room they take, and how much there may be.

use mesh_common::service::{MAX_BLOCKS, MAX_CHOICES, MAX_SERVICES};

/// How much the kernel may be asked to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Services.
    pub services: usize,
    /// Endpoints of all services, counted once for each service, and twice for one of UDP.
    pub choices: usize,
    /// Parts of tables of slots, of all services whose client decides.
    pub blocks: usize,
}

impl Limits {
    /// For programs that are only loaded.
    pub(crate) const LEAST: Self = Self { services: 1, choices: 1, blocks: 1 };
}

impl Default for Limits {
    fn default() -> Self {
        Self { services: MAX_SERVICES as usize, choices: MAX_CHOICES as usize, blocks: MAX_BLOCKS as usize }
    }
}

/// Where a set lies in the maps.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    pub(super) set: u32,
    /// Of its choices, members among them.
    pub(super) indexes: Vec<u32>,
    /// How many parts its table of slots has.
    pub(super) blocks: u32,
}

/// How much room sets take.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Room {
    pub(super) choices: usize,
    pub(super) blocks: usize,
}

impl Room {
    pub(super) fn of<'a>(all: impl IntoIterator<Item = &'a Written>) -> Self {
        let mut room = Self::default();
        all.into_iter().for_each(|written| room.add(written));
        room
    }

    pub(super) fn add(&mut self, written: &Written) {
        self.choices += written.indexes.len();
        self.blocks += written.blocks as usize;
    }

    pub(super) fn remove(&mut self, written: &Written) {
        self.choices -= written.indexes.len();
        self.blocks -= written.blocks as usize;
    }
}
