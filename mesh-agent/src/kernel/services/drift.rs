//! What somebody else changed in the maps of services is found and put right.
//!
//! Services are all read back at each look, many to a system call. Of their choices, each a call of its own, a part is, and the next
//! part at the next look.

use std::collections::BTreeSet;

use mesh_common::service::{ChoiceKey, ServiceKey};
use tracing::warn;

use crate::kernel::maps::TableError;
use crate::kernel::services::{ServiceTable, place};
use crate::kernel::set::Set;

impl ServiceTable {
    /// Compares the kernel's services with what they should be, and as many choices as one look may take; puts right what
    /// somebody else changed.
    pub(crate) fn reconcile(&mut self) -> Result<usize, TableError> {
        let found = self.maps.services()?;
        let mut wrong: BTreeSet<ServiceKey> = BTreeSet::new();
        for key in found.keys().filter(|key| !self.live.contains_key(key)) {
            self.maps.drop_service(key)?;
            warn!(address = %place(key).1, "a service in the kernel's maps that nobody asked for is removed");
        }
        wrong.extend(self.live.iter().filter(|(key, live)| found.get(key) != Some(&live.entry)).map(|(key, _)| *key));
        wrong.extend(self.damaged()?);
        for key in &wrong {
            warn!(address = %place(key).1, "a service in the kernel's maps is not as it should be; putting it right");
            if let Some(live) = self.live.get_mut(key) {
                live.service = None;
            }
        }
        if self.maps.reserved()? < self.reserved {
            self.maps.reserve(self.reserved)?;
        }
        self.catch_up();
        Ok(wrong.len())
    }

    /// Of a part of the services, a different one each time, those of whose choices some is not as it was written.
    fn damaged(&mut self) -> Result<Vec<ServiceKey>, TableError> {
        let mut budget = CHOICES_PER_LOOK;
        let mut damaged = Vec::new();
        let start = if self.looked < self.live.len() { self.looked } else { 0 };
        self.looked = start;
        for (key, live) in self.live.iter().skip(start) {
            // Also those that have nothing to be read, or the end would never be reached.
            self.looked += 1;
            let Some(service) = &live.service else { continue };
            let Ok(set) = Set::of(key.protocol(), service) else { continue };
            if !self.is_whole(live.entry.set, &set)? {
                damaged.push(*key);
            }
            budget = budget.saturating_sub((set.choices.len() + set.blocks.len()).max(1));
            if budget == 0 {
                break;
            }
        }
        Ok(damaged)
    }

    fn is_whole(&self, set: u32, wanted: &Set) -> Result<bool, TableError> {
        for &(index, choice) in &wanted.choices {
            if self.maps.choice(ChoiceKey { set, index })? != Some(choice) {
                return Ok(false);
            }
        }
        for (index, block) in (0..).zip(&wanted.blocks) {
            if self.maps.block(ChoiceKey { set, index })?.as_ref() != Some(block) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Choices that one look at the maps reads back, each by a system call.
const CHOICES_PER_LOOK: usize = 1000;
