//! Who may connect to whom, as the kernel's tables say it, and the one walk through them.
//!
//! A *set* has up to 64 rules, one bit each. For each thing that a rule can ask for there is a table, in which the thing's value
//! leads to the bits of all rules that it satisfies. What satisfies a rule in every table is where all have its bit. So the walk
//! is as long for 64 rules as for one, and has no loop for a verifier to follow.
//!
//! The tables of networks and ports find the longest prefix that holds the value. Which rules *that* value satisfies, shorter
//! prefixes and negations included, was worked out when the prefix was written: an answer never has to be put together.
//!
//! A set is never changed. What refers to a set is pointed at another one, and the old one goes later.

use crate::flow::{Addr, Family, NetKey, PortBe};

/// Rules of one set.
pub const MAX_RULES: u32 = 64;

/// What a set is looked up by.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuledKey {
    /// What is connected to: a service, or an address of the workload.
    pub addr: Addr,
    /// And its port.
    pub port: PortBe,
    /// Zero.
    pub pad: u16,
}

/// What there is to know of a set as a whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    /// Rules that deny.
    pub deny: u64,
    /// Rules that allow.
    pub allow: u64,
    /// Rules that somebody without a name of his own satisfies, as far as they ask who connects.
    pub strangers: u64,
    /// What has to be looked up at all: the `ASKS_` bits.
    pub asks: u32,
    /// Not zero: what no rule allows is denied.
    pub restricts: u32,
}

/// Some rule asks where the connection comes from.
pub const ASKS_SOURCE: u32 = 1;
/// Some rule asks for the address it goes to.
pub const ASKS_DESTINATION: u32 = 2;
/// Some rule asks for the port it goes to.
pub const ASKS_PORT: u32 = 4;
/// Some rule asks who connects.
pub const ASKS_WHO: u32 = 8;

/// A network that the rules of a set tell apart from others. Key of a trie.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleNet {
    /// The set.
    pub set: u32,
    /// [`ASKS_SOURCE`] or [`ASKS_DESTINATION`].
    pub side: u32,
    /// The address.
    pub net: NetKey,
}

/// A block of ports that the rules of a set tell apart from others. Key of a trie.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RulePort {
    /// The set.
    pub set: u32,
    /// The port.
    pub port: PortBe,
    /// Zero.
    pub pad: u16,
}

/// A workload that the rules of a set tell apart from strangers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleWho {
    /// The set.
    pub set: u32,
    /// The workload.
    pub pod: u32,
}

/// The addresses by which a workload is known where its socket does not say one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodAddrs {
    /// IPv4; the unspecified address if it has none.
    pub v4: Addr,
    /// IPv6, likewise.
    pub v6: Addr,
}

/// Where a set lies: the kernel's maps, or something else in a test.
pub trait RuleTables {
    /// The set as a whole.
    fn set(&self, set: u32) -> Option<RuleSet>;
    /// The bits of the longest prefix that holds an address.
    fn net(&self, key: &RuleNet) -> Option<u64>;
    /// The same for a port.
    fn port(&self, key: &RulePort) -> Option<u64>;
    /// The bits of a workload.
    fn who(&self, key: &RuleWho) -> Option<u64>;
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Who connects; zero: nobody known.
    pub pod: u32,
    /// From where.
    pub source: Addr,
    /// To where.
    pub destination: Addr,
    /// And which port.
    pub port: PortBe,
}

/// What a set says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It may go on.
    Allowed,
    /// This rule denies it, counted from one. Zero: no rule allows it.
    Denied(u32),
    /// The set is not whole.
    Unknown,
}

/// Walks through a set.
#[inline(always)]
pub fn judge(number: u32, tables: &impl RuleTables, asked: &Asked) -> Judgement {
    let Some(set) = tables.set(number) else { return Judgement::Unknown };
    let mut hold = set.deny | set.allow;
    if set.asks & ASKS_WHO != 0 {
        let who = if asked.pod == 0 { None } else { tables.who(&RuleWho { set: number, pod: asked.pod }) };
        hold &= match who {
            Some(bits) => bits,
            None => set.strangers,
        };
    }
    // A trie that has no root for the set has lost it.
    if set.asks & ASKS_SOURCE != 0 {
        let key = RuleNet { set: number, side: ASKS_SOURCE, net: NetKey::new(asked.source) };
        match tables.net(&key) {
            Some(bits) => hold &= bits,
            None => return Judgement::Unknown,
        }
    }
    if set.asks & ASKS_DESTINATION != 0 {
        let key = RuleNet { set: number, side: ASKS_DESTINATION, net: NetKey::new(asked.destination) };
        match tables.net(&key) {
            Some(bits) => hold &= bits,
            None => return Judgement::Unknown,
        }
    }
    if set.asks & ASKS_PORT != 0 {
        match tables.port(&RulePort { set: number, port: asked.port, pad: 0 }) {
            Some(bits) => hold &= bits,
            None => return Judgement::Unknown,
        }
    }
    let denied = hold & set.deny;
    if denied != 0 {
        Judgement::Denied(first(denied))
    } else if set.restricts != 0 && hold & set.allow == 0 {
        Judgement::Denied(0)
    } else {
        Judgement::Allowed
    }
}

/// The place of the lowest bit, counted from one: how many bits are below it. BPF has no instruction for it before version 4, and each
/// branch of a search would double what the verifier walks of all that follows.
#[inline(always)]
const fn first(bits: u64) -> u32 {
    let below = (bits & bits.wrapping_neg()).wrapping_sub(1);
    let pairs = below - ((below >> 1) & 0x5555_5555_5555_5555);
    let nibbles = (pairs & 0x3333_3333_3333_3333) + ((pairs >> 2) & 0x3333_3333_3333_3333);
    let bytes = (nibbles + (nibbles >> 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    (bytes.wrapping_mul(0x0101_0101_0101_0101) >> 56) as u32 + 1
}

impl RuledKey {
    /// What is looked up for this destination.
    #[inline(always)]
    #[must_use]
    pub const fn new(addr: Addr, port: PortBe) -> Self {
        Self { addr, port, pad: 0 }
    }
}

impl RuleNet {
    /// Bits of a key.
    pub const BITS: u32 = 64 + NetKey::BITS;
    /// Bits before those of an IPv6 prefix.
    pub const BITS_BEFORE: u32 = 64 + NetKey::BITS_BEFORE;
}

impl RulePort {
    /// Bits of a key that are compared.
    pub const BITS: u32 = 48;
    /// Bits before those of the port.
    pub const BITS_BEFORE: u32 = 32;
}

impl PodAddrs {
    /// The one that speaks to `destination`.
    #[inline(always)]
    #[must_use]
    pub const fn facing(&self, destination: Addr) -> Addr {
        match destination.family() {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

const _: () = assert!(size_of::<RuledKey>() == 20);
const _: () = assert!(size_of::<RuleSet>() == 32);
const _: () = assert!(size_of::<RuleNet>() * 8 == RuleNet::BITS as usize);
const _: () = assert!(size_of::<RulePort>() == 8);
const _: () = assert!(size_of::<RuleWho>() == 8);
const _: () = assert!(size_of::<PodAddrs>() == 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_bit_is_found() {
        for place in 0..64 {
            assert_eq!(first(1 << place), place + 1);
            assert_eq!(first(u64::MAX << place), place + 1);
        }
    }

    /// One set, the same whatever is asked.
    struct Flat(RuleSet, Option<u64>);

    impl RuleTables for Flat {
        fn set(&self, _: u32) -> Option<RuleSet> {
            Some(self.0)
        }
        fn net(&self, _: &RuleNet) -> Option<u64> {
            self.1
        }
        fn port(&self, _: &RulePort) -> Option<u64> {
            self.1
        }
        fn who(&self, _: &RuleWho) -> Option<u64> {
            self.1
        }
    }

    #[test]
    fn deny_comes_before_allow_and_a_lost_table_is_no_permission() {
        let asked = Asked { pod: 1, source: Addr::v4(1), destination: Addr::v4(2), port: PortBe::new(80) };
        let set = RuleSet { deny: 0b100, allow: 0b011, strangers: 0, asks: ASKS_PORT, restricts: 1 };
        for (bits, expected) in [
            (Some(0b111), Judgement::Denied(3)),
            (Some(0b011), Judgement::Allowed),
            (Some(0b1000), Judgement::Denied(0)),
            (None, Judgement::Unknown),
        ] {
            assert_eq!(judge(1, &Flat(set, bits), &asked), expected);
        }
        let open = RuleSet { allow: 0, restricts: 0, ..set };
        assert_eq!(judge(1, &Flat(open, Some(0b011)), &asked), Judgement::Allowed);
        let who = RuleSet { asks: ASKS_WHO, strangers: 0b001, ..set };
        assert_eq!(judge(1, &Flat(who, None), &asked), Judgement::Allowed);
        assert_eq!(judge(1, &Flat(who, Some(0b101)), &asked), Judgement::Denied(3));
        assert_eq!(judge(1, &Flat(who, Some(0b101)), &Asked { pod: 0, ..asked }), Judgement::Allowed);
    }
}
