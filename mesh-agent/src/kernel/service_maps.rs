//! The maps that hold services, behind a trait: the kernel's own, and a fake for tests of what feeds them.

use std::collections::BTreeMap;

use aya::Ebpf;
use mesh_common::names;
use mesh_common::service::{Block, Choice, ChoiceKey, Service, ServiceKey};

use crate::kernel::batch::BatchMap;
use crate::kernel::maps::TableError;

/// Where services are kept.
pub(crate) trait ServiceMaps: Send {
    /// Writes a set: choices with their indexes.
    fn put_choices(&mut self, set: u32, table: &[(u32, Choice)]) -> Result<(), TableError>;
    /// Removes what lies at these indexes of a set; what is not there is no error.
    fn drop_choices(&mut self, set: u32, indexes: &[u32]) -> Result<(), TableError>;
    /// Writes a set's table of slots.
    fn put_blocks(&mut self, set: u32, blocks: &[Block]) -> Result<(), TableError>;
    /// Removes so many parts of it; what is not there is no error.
    fn drop_blocks(&mut self, set: u32, count: u32) -> Result<(), TableError>;
    /// Points a service at a set, by one store.
    fn put_service(&mut self, key: &ServiceKey, service: Service) -> Result<(), TableError>;
    /// Removes one; not being there is no error.
    fn drop_service(&mut self, key: &ServiceKey) -> Result<(), TableError>;
    /// All services.
    fn services(&self) -> Result<BTreeMap<ServiceKey, Service>, TableError>;
    /// Notes that no set has a number beyond this; whoever opens the maps next is told.
    fn reserve(&mut self, last_set: u32) -> Result<(), TableError>;
    /// What was noted last; zero if nothing was.
    fn reserved(&self) -> Result<u32, TableError>;
    /// All choices, and where they lie.
    fn choices(&self) -> Result<Vec<(ChoiceKey, Choice)>, TableError>;
    /// Where parts of tables lie.
    fn block_keys(&self) -> Result<Vec<ChoiceKey>, TableError>;
    /// One of them.
    fn block(&self, key: ChoiceKey) -> Result<Option<Block>, TableError>;
    /// One choice.
    fn choice(&self, key: ChoiceKey) -> Result<Option<Choice>, TableError>;
}

/// The kernel's maps.
pub(crate) struct KernelServices {
    services: BatchMap<ServiceKey, Service>,
    choices: BatchMap<ChoiceKey, Choice>,
    slots: BatchMap<ChoiceKey, Block>,
}

impl KernelServices {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, TableError> {
        Ok(Self {
            services: BatchMap::take(ebpf, names::SERVICES)?,
            choices: BatchMap::take(ebpf, names::CHOICES)?,
            slots: BatchMap::take(ebpf, names::SLOTS)?,
        })
    }
}

impl ServiceMaps for KernelServices {
    fn put_choices(&mut self, set: u32, table: &[(u32, Choice)]) -> Result<(), TableError> {
        let (keys, choices): (Vec<_>, Vec<_>) =
            table.iter().map(|&(index, choice)| (ChoiceKey { set, index }, choice)).unzip();
        self.choices.put(&keys, &choices)
    }

    fn drop_choices(&mut self, set: u32, indexes: &[u32]) -> Result<(), TableError> {
        let keys: Vec<_> = indexes.iter().map(|&index| ChoiceKey { set, index }).collect();
        self.choices.remove(&keys)
    }

    fn put_blocks(&mut self, set: u32, blocks: &[Block]) -> Result<(), TableError> {
        let keys: Vec<_> = (0..).zip(blocks).map(|(index, _)| ChoiceKey { set, index }).collect();
        self.slots.put(&keys, blocks)
    }

    fn drop_blocks(&mut self, set: u32, count: u32) -> Result<(), TableError> {
        self.slots.remove(&(0..count).map(|index| ChoiceKey { set, index }).collect::<Vec<_>>())
    }

    fn put_service(&mut self, key: &ServiceKey, service: Service) -> Result<(), TableError> {
        self.services.put(&[*key], &[service])
    }

    fn drop_service(&mut self, key: &ServiceKey) -> Result<(), TableError> {
        self.services.remove(&[*key])
    }

    fn services(&self) -> Result<BTreeMap<ServiceKey, Service>, TableError> {
        Ok(self.services.read()?.into_iter().filter(|(key, _)| *key != ServiceKey::NUMBERS).collect())
    }

    fn reserve(&mut self, last_set: u32) -> Result<(), TableError> {
        self.services.put(&[ServiceKey::NUMBERS], &[Service { set: last_set, count: 0 }])
    }

    fn reserved(&self) -> Result<u32, TableError> {
        Ok(self.services.get(&ServiceKey::NUMBERS)?.map_or(0, |entry| entry.set))
    }

    fn choices(&self) -> Result<Vec<(ChoiceKey, Choice)>, TableError> {
        self.choices.read()
    }

    fn block_keys(&self) -> Result<Vec<ChoiceKey>, TableError> {
        Ok(self.slots.read()?.into_iter().map(|(key, _)| key).collect())
    }

    fn block(&self, key: ChoiceKey) -> Result<Option<Block>, TableError> {
        self.slots.get(&key)
    }

    fn choice(&self, key: ChoiceKey) -> Result<Option<Choice>, TableError> {
        self.choices.get(&key)
    }
}

/// Maps that are no more than maps, hold so many entries, and note what was asked of them.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct FakeServices {
    pub(crate) services: BTreeMap<ServiceKey, Service>,
    pub(crate) choices: BTreeMap<ChoiceKey, Choice>,
    pub(crate) blocks: BTreeMap<ChoiceKey, Block>,
    pub(crate) reserved: u32,
    pub(crate) room: Option<usize>,
    pub(crate) log: Vec<&'static str>,
}

#[cfg(test)]
impl ServiceMaps for std::sync::Arc<std::sync::Mutex<FakeServices>> {
    fn put_choices(&mut self, set: u32, table: &[(u32, Choice)]) -> Result<(), TableError> {
        let mut fake = self.lock().unwrap();
        fake.log.push("put choices");
        for &(index, choice) in table {
            if fake.room.is_some_and(|room| fake.choices.len() >= room) {
                return Err(TableError::Full { map: names::CHOICES });
            }
            fake.choices.insert(ChoiceKey { set, index }, choice);
        }
        Ok(())
    }

    fn drop_choices(&mut self, set: u32, indexes: &[u32]) -> Result<(), TableError> {
        let mut fake = self.lock().unwrap();
        fake.log.push("drop choices");
        fake.choices.retain(|key, _| key.set != set || !indexes.contains(&key.index));
        Ok(())
    }

    fn put_blocks(&mut self, set: u32, blocks: &[Block]) -> Result<(), TableError> {
        let mut fake = self.lock().unwrap();
        fake.log.push("put blocks");
        fake.blocks.extend((0..).zip(blocks).map(|(index, block)| (ChoiceKey { set, index }, *block)));
        Ok(())
    }

    fn drop_blocks(&mut self, set: u32, count: u32) -> Result<(), TableError> {
        self.lock().unwrap().blocks.retain(|key, _| key.set != set || key.index >= count);
        Ok(())
    }

    fn put_service(&mut self, key: &ServiceKey, service: Service) -> Result<(), TableError> {
        let mut fake = self.lock().unwrap();
        fake.log.push("put service");
        fake.services.insert(*key, service);
        Ok(())
    }

    fn drop_service(&mut self, key: &ServiceKey) -> Result<(), TableError> {
        let mut fake = self.lock().unwrap();
        fake.log.push("drop service");
        fake.services.remove(key);
        Ok(())
    }

    fn services(&self) -> Result<BTreeMap<ServiceKey, Service>, TableError> {
        Ok(self.lock().unwrap().services.clone())
    }

    fn reserve(&mut self, last_set: u32) -> Result<(), TableError> {
        self.lock().unwrap().reserved = last_set;
        Ok(())
    }

    fn reserved(&self) -> Result<u32, TableError> {
        Ok(self.lock().unwrap().reserved)
    }

    fn choices(&self) -> Result<Vec<(ChoiceKey, Choice)>, TableError> {
        Ok(self.lock().unwrap().choices.iter().map(|(key, choice)| (*key, *choice)).collect())
    }

    fn block_keys(&self) -> Result<Vec<ChoiceKey>, TableError> {
        Ok(self.lock().unwrap().blocks.keys().copied().collect())
    }

    fn block(&self, key: ChoiceKey) -> Result<Option<Block>, TableError> {
        Ok(self.lock().unwrap().blocks.get(&key).copied())
    }

    fn choice(&self, key: ChoiceKey) -> Result<Option<Choice>, TableError> {
        Ok(self.lock().unwrap().choices.get(&key).copied())
    }
}
