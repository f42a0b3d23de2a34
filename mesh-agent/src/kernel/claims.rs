//! The ports of one pod at which the agent has something to do with what comes in: a bitmap that its inbound program reads.

use std::collections::{BTreeMap, BTreeSet};

use aya::Ebpf;
use aya::maps::{Array, MapData};
use mesh_common::config::{ALL_PORTS, port_bit};
use mesh_common::names;

use crate::kernel::maps::{TableError, refused, take};
use crate::model::service::Claimed;

/// The bitmap, and what it says.
pub(crate) struct ClaimTable {
    map: Array<MapData, u64>,
    says: BTreeMap<u32, u64>,
}

impl ClaimTable {
    /// A new bitmap that claims all: until it is known better, everything is the agent's.
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, TableError> {
        let mut table = Self { map: take(ebpf, names::CLAIMED)?, says: BTreeMap::new() };
        table.set(&Claimed::All)?;
        Ok(table)
    }

    /// Makes it say this. What could not be written is written the next time.
    pub(crate) fn set(&mut self, claimed: &Claimed) -> Result<(), TableError> {
        let next = words(claimed);
        let differs = |word: &&u32| self.says.get(word) != next.get(word);
        let changed: BTreeSet<u32> = self.says.keys().chain(next.keys()).filter(differs).copied().collect();
        // What is claimed both before and after is claimed all the time: words are filled before others are emptied.
        let (filled, emptied): (Vec<_>, Vec<_>) = changed.into_iter().partition(|word| next.contains_key(word));
        for word in filled.into_iter().chain(emptied) {
            let bits = next.get(&word).copied().unwrap_or(0);
            self.map.set(word, bits, 0).map_err(refused(names::CLAIMED))?;
            self.says.insert(word, bits);
        }
        self.says.retain(|_, bits| *bits != 0);
        Ok(())
    }
}

/// The words that are not zero.
fn words(claimed: &Claimed) -> BTreeMap<u32, u64> {
    let mut words = BTreeMap::new();
    match claimed {
        Claimed::All => drop(words.insert(ALL_PORTS, 1)),
        Claimed::Ports(ports) => {
            for (word, bit) in ports.iter().map(|&port| port_bit(port)) {
                *words.entry(word).or_default() |= bit;
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_bits() {
        assert_eq!(words(&Claimed::All), BTreeMap::from([(ALL_PORTS, 1)]));
        assert_eq!(words(&Claimed::Ports([80, 81, 8080].into())), BTreeMap::from([(1, 3 << 16), (126, 1 << 16)]));
    }
}
