//! What the kernel's walk says of a connection is what the model says, for rules that nobody thought of.

use std::net::SocketAddr;

use mesh_common::flow::{Addr, NetKey, PortBe};
use mesh_common::policy::{Asked, Judgement, RuleNet, RulePort, RuleTables, RuleWho, judge};

use super::*;
use crate::model::authz::{self, Refusal};
use crate::model::matcher::{StringMatch, StringMatchKind};

/// The tables as the kernel looks things up in them: by longest prefix, bit by bit.
struct Fake<'a>(&'a Compiled);

impl RuleTables for Fake<'_> {
    fn set(&self, _: u32) -> Option<RuleSet> {
        Some(self.0.set)
    }

    fn net(&self, key: &RuleNet) -> Option<u64> {
        let holds = |network: &Network| {
            let (prefix, bits) = network.to_kernel();
            let bytes = |key: NetKey| {
                let (family, addr) = key.parts();
                [family.to_ne_bytes().as_slice(), &addr.octets()].concat()
            };
            same_bits(&bytes(prefix), &bytes(key.net), bits)
        };
        let found = self.0.nets.iter().filter(|((side, network), _)| *side == key.side && holds(network));
        found.max_by_key(|((_, network), _)| network.to_kernel().1).map(|(_, bits)| *bits)
    }

    fn port(&self, key: &RulePort) -> Option<u64> {
        let holds = |(first, length): &(u16, u8)| {
            same_bits(&first.to_be_bytes(), &key.port.get().to_be_bytes(), u32::from(*length))
        };
        let found = self.0.ports.iter().filter(|(block, _)| holds(block));
        found.max_by_key(|((_, length), _)| *length).map(|(_, bits)| *bits)
    }

    fn who(&self, key: &RuleWho) -> Option<u64> {
        self.0.who.get(&key.pod).copied()
    }
}

fn same_bits(one: &[u8], other: &[u8], bits: u32) -> bool {
    (0..bits as usize).all(|bit| (one[bit / 8] ^ other[bit / 8]) & (0x80 >> (bit % 8)) == 0)
}

/// Numbers without order, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % end
    }

    fn of<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[self.below(values.len())]
    }
}

const NETS: [&str; 12] = [
    "0.0.0.0/0",
    "::/0",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.1.0/24",
    "10.1.1.1/32",
    "10.1.1.0/25",
    "192.168.0.0/16",
    "fd00::/8",
    "fd00:1::/32",
    "fd00:1::1/128",
    "172.16.0.0/12",
];
const ADDRESSES: [&str; 12] = [
    "10.1.1.1",
    "10.1.1.200",
    "10.1.2.1",
    "10.9.9.9",
    "192.168.3.4",
    "172.20.0.1",
    "8.8.8.8",
    "fd00:1::1",
    "fd00:1::2",
    "fd77::1",
    "2001:db8::1",
    "0.0.0.0",
];
const ACTIONS: [&[Action]; 5] =
    [&[], &[Action::Allow], &[Action::Deny], &[Action::Deny, Action::Allow], &[Action::Deny, Action::Deny]];
const PORTS: [u16; 8] = [0, 1, 79, 80, 443, 8080, 65534, 65535];
const NAMES: [&str; 3] = ["spiffe://x/ns/a/sa/one", "spiffe://x/ns/a/sa/two", "spiffe://x/ns/b/sa/one"];

fn fact(random: &mut Random) -> Fact {
    let net = random.of(&NETS).parse().unwrap();
    match random.below(5) {
        0 | 1 => Fact::Source(net),
        2 => Fact::Destination(net),
        3 => {
            let (one, other) = (*random.of(&PORTS), *random.of(&PORTS));
            Fact::Port(one.min(other)..=one.max(other))
        }
        _ => {
            let kind = match random.below(3) {
                0 => return Fact::Identity(None),
                1 => StringMatchKind::Exact((*random.of(&NAMES)).to_owned()),
                _ => StringMatchKind::Suffix("/sa/one".to_owned()),
            };
            Fact::Identity(Some(StringMatch { kind, ignore_case: false }))
        }
    }
}

fn test(random: &mut Random, depth: usize) -> Test {
    let some = |random: &mut Random| (0..=random.below(3)).map(|_| test(random, depth - 1)).collect();
    match random.below(if depth == 0 { 4 } else { 8 }) {
        0 => Test::Any,
        1..4 => Test::Fact(fact(random)),
        4 => Test::All(some(random)),
        5 => Test::One(some(random)),
        _ => Test::Not(Box::new(test(random, depth - 1))),
    }
}

fn rules(random: &mut Random, action: Action) -> Rules {
    let some = |random: &mut Random| (0..=random.below(2)).map(|_| test(random, 2)).collect();
    let policy = |random: &mut Random, n: usize| Policy {
        name: format!("{action:?} {n}").into(),
        permissions: some(random),
        principals: some(random),
    };
    let policies = (0..random.below(4)).map(|n| policy(random, n)).collect();
    Rules { stat_prefix: String::new(), action, policies }
}

fn known() -> Vec<Known> {
    let known = |(pod, identity): (u32, &&str), addresses: &[&str]| Known {
        pod,
        identity: Arc::from(*identity),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
    };
    let addresses: [&[&str]; 3] = [&["10.1.1.1", "fd00:1::1"], &["10.1.1.200"], &["10.9.9.9", "fd77::1"]];
    (1..).zip(&NAMES).zip(addresses).map(|(name, addresses)| known(name, addresses)).collect()
}

#[test]
fn the_kernel_says_what_the_model_says() {
    let known = known();
    let mut random = Random(0x5eed_5eed);
    let (mut sets, mut allowed, mut denied, mut too_complex) = (0, 0, 0, 0);
    while sets < 1500 {
        let actions = random.of(&ACTIONS);
        let rules: Vec<_> = actions.iter().map(|action| rules(&mut random, *action)).collect();
        for direction in [Direction::Outbound, Direction::Inbound] {
            let Ok(compiled) = compile(&rules, &known, direction) else {
                too_complex += 1;
                continue;
            };
            sets += 1;
            for _ in 0..40 {
                let source: IpAddr = random.of(&ADDRESSES).parse().unwrap();
                let port = if random.below(3) == 0 { random.below(65536) as u16 } else { *random.of(&PORTS) };
                let destination = SocketAddr::new(random.of(&ADDRESSES).parse().unwrap(), port);
                let who = match direction {
                    Direction::Outbound => known.get(random.below(4)),
                    Direction::Inbound => known.iter().find(|known| known.addresses.contains(&source)),
                };
                let facts = Facts { source, destination, identity: who.map(|known| &*known.identity) };
                let asked = Asked {
                    pod: if direction == Direction::Outbound { who.map_or(0, |known| known.pod) } else { 0 },
                    source: Addr::from(source),
                    destination: Addr::from(destination.ip()),
                    port: PortBe::new(port),
                };
                let (model, kernel) = (authz::judge(&rules, &facts), judge(1, &Fake(&compiled), &asked));
                let fits = match (model, kernel) {
                    (Ok(()), Judgement::Allowed) => true,
                    (Err(Refusal::NotAllowed(_)), Judgement::Denied(0)) => true,
                    // Several may deny; the names of those that do are told, whichever comes first.
                    (Err(Refusal::Denied(_)), Judgement::Denied(rule @ 1..)) => {
                        let name = &compiled.names[rule as usize - 1];
                        let denying = rules.iter().filter(|rules| rules.action == Action::Deny);
                        denying.flat_map(|rules| &rules.policies).any(|it| it.name == *name && it.holds(&facts))
                    }
                    _ => false,
                };
                assert!(fits, "{direction:?} {facts:?}\nmodel {model:?}\nkernel {kernel:?}\n{rules:#?}\n{compiled:#?}");
                if model.is_ok() { allowed += 1 } else { denied += 1 }
            }
        }
    }
    // Neither answer is the only one, and most rules are understood.
    assert!(allowed > 10_000 && denied > 10_000 && too_complex < sets / 2, "{allowed} {denied} {too_complex}");
}

#[test]
fn ports_are_cut_into_the_fewest_prefixes() {
    assert_eq!(prefixes(0, 65535), [(0, 0)]);
    assert_eq!(prefixes(80, 80), [(80, 16)]);
    assert_eq!(prefixes(80, 89), [(80, 13), (88, 15)]);
    assert_eq!(prefixes(1, 65535).len(), 16);
    for (first, last) in [(0, 0), (3, 17), (1, 65534), (443, 8080)] {
        let covered: Vec<u32> = prefixes(first, last)
            .into_iter()
            .flat_map(|(start, length)| u32::from(start)..u32::from(start) + (1 << (16 - length)))
            .collect();
        assert_eq!(covered, (u32::from(first)..=u32::from(last)).collect::<Vec<_>>());
    }
}

#[test]
fn what_is_too_complex_is_said() {
    let source = |n: u8| Test::Fact(Fact::Source(IpNet::from(IpAddr::from([10, 0, 0, n]))));
    let policy = |principals: Vec<Test>, permissions| Policy { name: "p".into(), permissions, principals };
    let rules = |action, policy| Rules { stat_prefix: String::new(), action, policies: vec![policy] };
    let many = |n: u8| (0..n).map(source).collect::<Vec<_>>();
    let allow = |n| rules(Action::Allow, policy(many(n), vec![Test::Any]));
    assert!(compile(&[allow(64)], &[], Direction::Outbound).is_ok());
    assert_eq!(compile(&[allow(65)], &[], Direction::Outbound), Err(TooComplex::Alternatives));
    assert_eq!(compile(&[allow(1), allow(1)], &[], Direction::Outbound), Err(TooComplex::TwoAllow));
    assert_eq!(
        compile(&[allow(40), rules(Action::Deny, policy(many(25), vec![Test::Any]))], &[], Direction::Outbound),
        Err(TooComplex::Alternatives)
    );
    let squared = rules(Action::Deny, policy(many(9), many(9)));
    assert_eq!(compile(&[squared], &[], Direction::Outbound), Err(TooComplex::Alternatives));
}
