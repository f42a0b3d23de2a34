//! Services that the kernel serves by itself: which addresses they have, and how an endpoint of one is chosen.
//!
//! A service names a *set* by number; the choices of a set lie in another map under (set, index). A set is never changed: an
//! update writes a new one, points the service at it by one store, and only then removes the old one. A program that is caught
//! between the two finds no choice and asks for the service again.
//!
//! Weights cost nothing: a set is an alias table (Vose), in which every index is as likely as the next and stands for two
//! endpoints, one of them with the chance that is written there. Any weighted choice is one index, one coin and one look-up.

use crate::flow::{Addr, PortBe};

/// The address of a service, as a workload asks for it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// Address.
    pub addr: Addr,
    /// Port.
    pub port: PortBe,
    protocol: u8,
    pad: u8,
}

/// What a service is spoken to by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// A connection has one endpoint.
    Tcp,
    /// So has a flow: what one socket sends to one service.
    Udp,
}

/// A service: which set its endpoints are chosen from. Replaced as a whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// Number of the set; never used twice, by whatever agent: flows remember it.
    pub set: u32,
    /// Choices in it. Zero: it has no endpoint, and who asks for it is refused. With the highest bit: who asks decides by a hash, and
    /// the rest is the number of slots of the set's table.
    pub count: u32,
}

/// Where a choice lies.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChoiceKey {
    /// Number of the set.
    pub set: u32,
    /// From 0 to the set's size.
    pub index: u32,
}

/// One place of a set's alias table.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Taken if the coin is not above the threshold.
    pub first: Target,
    /// Taken otherwise.
    pub other: Target,
    /// The chance of the first: the coin is any `u32`, each as likely.
    pub threshold: u32,
}

/// A part of a set's table of slots: which choice of the set has each. Lies in a map of its own, under set and number of the part.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block(pub [u16; BLOCK_SLOTS]);

/// Slots of a part: as many as fill the kernel's next size of memory with key and header.
pub const BLOCK_SLOTS: usize = 64;

/// Where a connection goes in the service's stead.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Address.
    pub addr: Addr,
    /// Port. Zero: nowhere; this share of the service has no endpoint.
    pub port: PortBe,
    pad: u16,
}

impl ServiceKey {
    /// The key of a service.
    #[inline(always)]
    #[must_use]
    pub const fn new(protocol: Protocol, addr: Addr, port: PortBe) -> Self {
        let protocol = match protocol {
            Protocol::Tcp => IPPROTO_TCP,
            Protocol::Udp => IPPROTO_UDP,
        };
        Self { addr, port, protocol, pad: 0 }
    }

    /// Stands for no service, since nobody can ask for it. The set of its entry is the highest number that a set may have had, so that
    /// an agent uses none that one before has used.
    pub const NUMBERS: Self = Self { addr: Addr([0; 4]), port: PortBe(0), protocol: 0, pad: 0 };

    /// What is spoken.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        if self.protocol == IPPROTO_UDP { Protocol::Udp } else { Protocol::Tcp }
    }
}

impl Service {
    /// A service whose client decides, by a table of so many slots.
    #[must_use]
    pub const fn by_client(set: u32, slots: u32) -> Self {
        Self { set, count: slots | BY_CLIENT }
    }

    /// How many slots its table has, if the client decides.
    #[inline(always)]
    #[must_use]
    pub const fn slots(&self) -> Option<u32> {
        if self.count & BY_CLIENT == 0 { None } else { Some(self.count & !BY_CLIENT) }
    }

    /// The index that any `u32` stands for, each as likely. Not a remainder: the kernel divides slowly, and unevenly.
    #[inline(always)]
    #[must_use]
    pub const fn index(&self, random: u32) -> u32 {
        ((random as u64 * self.count as u64) >> 32) as u32
    }
}

impl Target {
    /// Under which index of its set an endpoint of a UDP service lies once more, to be found by itself: flows ask whether theirs is
    /// still one. No index of a choice is as high. Of two that share one by chance only one is found, and flows to the other move.
    #[inline(always)]
    #[must_use]
    pub const fn member_index(&self) -> u32 {
        let Addr([a, b, c, d]) = self.addr;
        let mut hash = self.port.0 as u32;
        hash = (hash ^ a).wrapping_mul(MIX);
        hash = (hash ^ b ^ hash >> 15).wrapping_mul(MIX);
        hash = (hash ^ c ^ hash >> 15).wrapping_mul(MIX);
        hash = (hash ^ d ^ hash >> 15).wrapping_mul(MIX);
        hash ^ hash >> 16 | 1 << 31
    }
}

impl Block {
    /// In which part of a table a slot is.
    #[inline(always)]
    #[must_use]
    pub const fn of_slot(slot: u32) -> u32 {
        slot / BLOCK_SLOTS as u32
    }

    /// The choice that has the slot, if this is its part.
    #[inline(always)]
    #[must_use]
    pub const fn taker(&self, slot: u32) -> u32 {
        self.0[slot as usize % BLOCK_SLOTS] as u32
    }
}

impl Choice {
    /// Which of the two.
    #[inline(always)]
    #[must_use]
    pub const fn toss(&self, coin: u32) -> Target {
        if coin <= self.threshold { self.first } else { self.other }
    }
}

impl Target {
    /// Where a share goes that has no endpoint.
    pub const NOWHERE: Self = Self::new(Addr([0; 4]), PortBe(0));

    /// This address and port.
    #[inline(always)]
    #[must_use]
    pub const fn new(addr: Addr, port: PortBe) -> Self {
        Self { addr, port, pad: 0 }
    }

    /// Whether it is no endpoint at all.
    #[inline(always)]
    #[must_use]
    pub const fn is_nowhere(&self) -> bool {
        self.port.0 == 0
    }
}

/// What stands for a client where each shall come to the same endpoint again and again: any `u32`, each as likely. Agent and kernel
/// hash alike, so that they choose alike.
#[inline(always)]
#[must_use]
pub const fn client_hash(client: Addr) -> u32 {
    let Addr([a, b, c, d]) = client;
    let mut hash = a.wrapping_mul(MIX);
    hash = (hash ^ b ^ hash >> 15).wrapping_mul(MIX);
    hash = (hash ^ c ^ hash >> 15).wrapping_mul(MIX);
    hash = (hash ^ d ^ hash >> 15).wrapping_mul(MIX);
    // Neighbours differ in few bits, and what is chosen hangs on the highest.
    hash = (hash ^ hash >> 15).wrapping_mul(MIX_AGAIN);
    hash = (hash ^ hash >> 13).wrapping_mul(MIX);
    hash ^ hash >> 16
}

/// Which of so many slots a hash stands for. Not a remainder, for the same reason as [`Service::index`].
#[inline(always)]
#[must_use]
pub const fn slot(hash: u32, slots: u32) -> u32 {
    ((hash as u64 * slots as u64) >> 32) as u32
}

/// Services on one node.
pub const MAX_SERVICES: u32 = 16384;
/// Choices of all services together that are in use. The map holds twice as many: while an update goes on, a set is there twice.
pub const MAX_CHOICES: u32 = 131_072;

/// Parts of tables of all services together that are in use, two million slots. The map holds twice as many, for the same reason.
pub const MAX_BLOCKS: u32 = 32_768;

const BY_CLIENT: u32 = 1 << 31;
/// Any odd number that looks random.
const MIX: u32 = 0x9e37_79b1;
/// Another.
const MIX_AGAIN: u32 = 0x85eb_ca6b;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

const _: () = assert!(size_of::<ServiceKey>() == 20);
const _: () = assert!(size_of::<Service>() == 8);
const _: () = assert!(size_of::<ChoiceKey>() == 8);
const _: () = assert!(size_of::<Target>() == 20);
const _: () = assert!(size_of::<Choice>() == 44);
const _: () = assert!(size_of::<Block>() == 128);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_is_reached_and_none_beyond() {
        let service = Service { set: 1, count: 3 };
        assert_eq!(service.index(0), 0);
        assert_eq!(service.index(u32::MAX / 2), 1);
        assert_eq!(service.index(u32::MAX), 2);
        assert_eq!(Service { set: 1, count: 1 }.index(u32::MAX), 0);
    }

    #[test]
    fn the_coin_falls_on_either_side() {
        let target = |port| Target::new(Addr::v4(1), PortBe::new(port));
        let choice = Choice { first: target(1), other: target(2), threshold: 9 };
        assert_eq!((choice.toss(9), choice.toss(10)), (target(1), target(2)));
        let certain = Choice { threshold: u32::MAX, ..choice };
        assert_eq!(certain.toss(u32::MAX), target(1));
    }

    #[test]
    fn members_lie_beyond_all_choices_and_apart() {
        let target = |n: u32| Target::new(Addr::v4((0x0a00_0000 + n).to_be()), PortBe::new(53));
        let indexes: std::collections::BTreeSet<_> = (0..10_000).map(|n| target(n).member_index()).collect();
        assert!(indexes.len() > 9_990, "{}", indexes.len());
        assert!(indexes.iter().all(|index| *index > 2 * MAX_CHOICES));
    }

    #[test]
    fn a_slot_is_found_in_its_part() {
        let service = Service::by_client(7, 65537);
        assert_eq!((service.slots(), Service { set: 7, count: 65537 }.slots()), (Some(65537), None));
        assert_eq!([0, 63, 64, 65536].map(Block::of_slot), [0, 0, 1, 1024]);
        let mut block = Block([0; BLOCK_SLOTS]);
        block.0[3] = 65535;
        assert_eq!((block.taker(67), block.taker(66)), (65535, 0));
    }

    #[test]
    fn clients_are_spread_over_slots() {
        let nets = [0x0a00_0000_u32, 0x0af4_0300, 0xc0a8_0000];
        let v4 = nets.into_iter().flat_map(|net| (1..=4000).map(move |n| Addr::v4((net + n).to_be())));
        let v6 = (1..=4000_u32).map(|n| Addr([0xfd00_u32.to_be(), 0, 0, n.to_be()]));
        let clients: Vec<_> = v4.chain(v6).collect();
        let mut counts = [0_u32; 16];
        for client in &clients {
            counts[slot(client_hash(*client), 16) as usize] += 1;
        }
        let even = f64::from(counts.iter().sum::<u32>()) / 16.0;
        let chi_square: f64 = counts.iter().map(|count| (f64::from(*count) - even).powi(2) / even).sum();
        // Fifteen degrees of freedom: a fair hash is beyond this once in a hundred thousand times.
        assert!(chi_square < 51.0, "{chi_square}: {counts:?}");
        assert_eq!((slot(0, 7), slot(u32::MAX, 7)), (0, 6));
    }

    #[test]
    fn a_service_of_one_protocol_is_none_of_the_other() {
        let key = |protocol| ServiceKey::new(protocol, Addr::v4(1), PortBe::new(53));
        assert_ne!(key(Protocol::Tcp), key(Protocol::Udp));
        assert_eq!(key(Protocol::Udp).protocol(), Protocol::Udp);
        assert_eq!(key(Protocol::Tcp).protocol(), Protocol::Tcp);
    }
}
