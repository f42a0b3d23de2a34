//! What a service is written as: the choices of its set, and the table of slots where the client decides.

use mesh_common::names;
use mesh_common::service::{self, BLOCK_SLOTS, Block, Choice};

use crate::kernel::alias;
use crate::kernel::maps::TableError;
use crate::model::service::{ByClient, Service};

/// A set before it has a number.
#[derive(Debug, Default)]
pub(crate) struct Set {
    /// With the indexes under which they lie.
    pub(crate) choices: Vec<(u32, Choice)>,
    /// The table of slots, in parts.
    pub(crate) blocks: Vec<Block>,
    /// Choices that are drawn from; the rest are members to be found by themselves.
    drawn: u32,
    slots: u32,
}

impl Set {
    /// What the kernel reads of this service. UDP has flows that ask whether their endpoint is still one.
    pub(crate) fn of(protocol: service::Protocol, service: &Service) -> Result<Self, TableError> {
        let members = if protocol == service::Protocol::Udp { alias::members(service) } else { Vec::new() };
        let mut set = match &service.by_client {
            Some(by_client) => Self::by_client(by_client)?,
            None => Self { choices: (0..).zip(alias::table(&service.shares)).collect(), ..Self::default() },
        };
        set.drawn = u32::try_from(set.choices.len()).unwrap_or(u32::MAX);
        set.choices.extend(members);
        Ok(set)
    }

    /// What the service's entry says once the set has this number.
    pub(crate) fn entry(&self, set: u32) -> service::Service {
        match self.slots {
            0 => service::Service { set, count: self.drawn },
            slots => service::Service::by_client(set, slots),
        }
    }

    fn by_client(by_client: &ByClient) -> Result<Self, TableError> {
        let too_many = |_| TableError::Full { map: names::SLOTS };
        let slots = &by_client.table.slots;
        let mut blocks = Vec::with_capacity(slots.len().div_ceil(BLOCK_SLOTS));
        for part in slots.chunks(BLOCK_SLOTS) {
            let mut block = Block([0; BLOCK_SLOTS]);
            for (place, member) in block.0.iter_mut().zip(part) {
                *place = u16::try_from(*member).map_err(too_many)?;
            }
            blocks.push(block);
        }
        let choices = (0..).zip(by_client.members.iter().map(|member| alias::alone(alias::target(*member)))).collect();
        Ok(Self { choices, blocks, drawn: 0, slots: u32::try_from(slots.len()).map_err(too_many)? })
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use mesh_common::flow::Addr;
    use mesh_common::service::{Protocol, client_hash, slot};

    use super::*;
    use crate::model::cluster::TableSize;
    use crate::spread::maglev;

    #[test]
    fn the_kernel_finds_whom_the_agent_finds() {
        let address = |n: usize| SocketAddr::from(([10, 0, 0, 1], u16::try_from(n + 1).unwrap()));
        let names: Vec<_> = (0..7).map(|n| address(n).to_string()).collect();
        let shares = [1.0, 2.0, 0.0, 4.0, 1.0, 1.0, 1.0];
        let table = maglev::table(&names, &shares, TableSize::new(1021).unwrap()).unwrap();
        let members = table.members.iter().map(|index| address(*index as usize)).collect();
        let by_client = ByClient { members, table: Arc::new(table.clone()) };
        let shares = (0..7).map(address).map(Some).zip(shares).filter(|(_, share)| *share > 0.0).collect();
        let service = Service { listener: "l".into(), shares, resting: vec![address(2)], by_client: Some(by_client) };
        let set = Set::of(Protocol::Udp, &service).unwrap();
        let slots = set.entry(9).slots().expect("the client decides");
        assert_eq!((slots, set.blocks.len(), set.choices.len()), (1021, 16, 6 + 7), "and seven members");
        for n in 0..2000_u32 {
            let client: std::net::IpAddr = (0x0af4_0000 + n).to_be_bytes().into();
            let slot = slot(client_hash(Addr::from(client)), slots);
            let taker = set.blocks[Block::of_slot(slot) as usize].taker(slot);
            let (index, choice) = set.choices[taker as usize];
            let expected = maglev::find(&table, maglev::of_client(client)).unwrap();
            assert_eq!((index, choice.toss(n)), (taker, alias::target(address(expected as usize))));
        }
        let tcp = Set::of(Protocol::Tcp, &service).unwrap();
        assert_eq!(tcp.choices.len(), 6);
    }
}
