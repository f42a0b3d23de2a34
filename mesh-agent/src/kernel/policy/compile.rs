//! Rules of the model as one set of the kernel's tables. Pure.
//!
//! Each policy is multiplied out to alternatives, each a list of facts that must or must not hold; an alternative is a bit. Then
//! for each prefix that some fact speaks of, and for the whole, it is worked out which alternatives an address satisfies that has
//! no longer prefix among them. That is exact for any mixture of networks and their negations. Ports are cut where some fact's
//! range begins or ends.
//!
//! What needs more than the kernel's 64 bits, or asks twice for leave, is not forced into them: the agent can always judge.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use mesh_common::policy::{ASKS_DESTINATION, ASKS_PORT, ASKS_SOURCE, ASKS_WHO, MAX_RULES, RuleSet};

use crate::kernel::plan::Network;
use crate::model::authz::{Action, Fact, Facts, Policy, Rules, Test};
use crate::model::flow::Direction;

/// A set as the tables are to hold it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compiled {
    pub(crate) set: RuleSet,
    /// By side and network.
    pub(crate) nets: BTreeMap<(u32, Network), u64>,
    /// By first port and length of the prefix.
    pub(crate) ports: BTreeMap<(u16, u8), u64>,
    /// By workload.
    pub(crate) who: BTreeMap<u32, u64>,
    /// The policy behind each bit.
    pub(crate) names: Vec<Arc<str>>,
}

/// A workload that can be told from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) pod: u32,
    pub(crate) identity: Arc<str>,
    pub(crate) addresses: Vec<IpAddr>,
}

/// Why the kernel can't judge by these rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooComplex {
    #[error("they have more than {MAX_RULES} alternatives")]
    Alternatives,
    #[error("leave has to be given twice: there are two rbac filters that allow")]
    TwoAllow,
}

/// Translates. Of who connects to a workload only the address is known; of a workload that connects, the workload.
pub(crate) fn compile(rules: &[Rules], known: &[Known], direction: Direction) -> Result<Compiled, TooComplex> {
    let mut compiled = Compiled::default();
    let mut terms = Vec::new();
    for (action, policy) in rules.iter().flat_map(|rules| rules.policies.iter().map(move |it| (rules.action, it))) {
        for term in alternatives(policy)? {
            if terms.len() >= MAX_RULES as usize {
                return Err(TooComplex::Alternatives);
            }
            let bit = 1 << terms.len();
            match action {
                Action::Allow => compiled.set.allow |= bit,
                Action::Deny => compiled.set.deny |= bit,
            }
            compiled.names.push(Arc::clone(&policy.name));
            terms.push(term);
        }
    }
    match rules.iter().filter(|rules| rules.action == Action::Allow).count() {
        0 => {}
        1 => compiled.set.restricts = 1,
        _ => return Err(TooComplex::TwoAllow),
    }
    Tables { terms, known, direction }.fill(&mut compiled);
    Ok(compiled)
}

/// A fact, and whether it is to hold.
#[derive(Clone, Copy)]
struct Literal<'a> {
    fact: &'a Fact,
    holds: bool,
}

/// Facts of which each must be as it says.
type Term<'a> = Vec<Literal<'a>>;

fn alternatives(policy: &Policy) -> Result<Vec<Term<'_>>, TooComplex> {
    let permissions = any(policy.permissions.iter().map(|test| terms(test, true)))?;
    let principals = any(policy.principals.iter().map(|test| terms(test, true)))?;
    product(&permissions, &principals)
}

/// The alternatives under which `test` comes out as `wanted`.
fn terms(test: &Test, wanted: bool) -> Result<Vec<Term<'_>>, TooComplex> {
    match (test, wanted) {
        (Test::Any, true) => Ok(vec![Vec::new()]),
        (Test::Any, false) => Ok(Vec::new()),
        (Test::Fact(fact), holds) => Ok(vec![vec![Literal { fact, holds }]]),
        (Test::Not(test), wanted) => terms(test, !wanted),
        (Test::One(tests), true) | (Test::All(tests), false) => any(tests.iter().map(|test| terms(test, wanted))),
        (Test::All(tests), true) | (Test::One(tests), false) => {
            tests.iter().try_fold(vec![Vec::new()], |all, test| product(&all, &terms(test, wanted)?))
        }
    }
}

type Alternatives<'a> = Result<Vec<Term<'a>>, TooComplex>;

fn any<'a>(each: impl Iterator<Item = Alternatives<'a>>) -> Alternatives<'a> {
    let mut all = Vec::new();
    for terms in each {
        all.extend(terms?);
        bounded(&all)?;
    }
    Ok(all)
}

fn product<'a>(left: &[Term<'a>], right: &[Term<'a>]) -> Alternatives<'a> {
    let mut all = Vec::new();
    for (left, right) in left.iter().flat_map(|left| right.iter().map(move |right| (left, right))) {
        all.push([left.as_slice(), right].concat());
        bounded(&all)?;
    }
    Ok(all)
}

fn bounded(terms: &[Term<'_>]) -> Result<(), TooComplex> {
    let too_long = terms.last().is_some_and(|last| last.len() > MOST_FACTS);
    if terms.len() > MAX_RULES as usize || too_long { Err(TooComplex::Alternatives) } else { Ok(()) }
}

struct Tables<'a> {
    terms: Vec<Term<'a>>,
    known: &'a [Known],
    direction: Direction,
}

impl Tables<'_> {
    fn fill(&self, compiled: &mut Compiled) {
        let by_address = self.direction == Direction::Inbound;
        for (side, asked) in [
            (
                ASKS_SOURCE,
                &(|fact: &Fact| matches!(fact, Fact::Source(_)) || (by_address && is_identity(fact)))
                    as &dyn Fn(&Fact) -> bool,
            ),
            (ASKS_DESTINATION, &|fact| matches!(fact, Fact::Destination(_))),
        ] {
            if self.asks(asked) {
                compiled.set.asks |= side;
                let bits = |net: IpNet| ((side, Network::from(net)), self.bits(asked, |fact| self.holds_in(fact, net)));
                compiled.nets.extend(self.networks(side).into_iter().map(bits));
            }
        }
        let is_port = |fact: &Fact| matches!(fact, Fact::Port(_));
        if self.asks(&is_port) {
            compiled.set.asks |= ASKS_PORT;
            for (first, last) in self.port_blocks() {
                let bits = self.bits(&is_port, |fact| matches!(fact, Fact::Port(ports) if ports.contains(&first)));
                compiled.ports.extend(prefixes(first, last).into_iter().map(|prefix| (prefix, bits)));
            }
        }
        if !by_address && self.asks(&is_identity) {
            compiled.set.asks |= ASKS_WHO;
            let bits = |identity| self.bits(&is_identity, |fact| named(fact, identity));
            compiled.set.strangers = bits(None);
            compiled.who = self.known.iter().map(|known| (known.pod, bits(Some(&*known.identity)))).collect();
        }
    }

    fn asks(&self, about: &dyn Fn(&Fact) -> bool) -> bool {
        self.terms.iter().flatten().any(|literal| about(literal.fact))
    }

    /// The terms whose facts about one thing all are as they should be.
    fn bits(&self, about: &dyn Fn(&Fact) -> bool, is: impl Fn(&Fact) -> bool) -> u64 {
        let fits = |term: &Term<'_>| term.iter().filter(|it| about(it.fact)).all(|it| is(it.fact) == it.holds);
        self.terms.iter().zip(0..).filter(|(term, _)| fits(term)).fold(0, |bits, (_, place)| bits | 1 << place)
    }

    /// Whether a fact holds for addresses in `net` that are in no longer network of the table.
    fn holds_in(&self, fact: &Fact, net: IpNet) -> bool {
        match fact {
            Fact::Source(other) | Fact::Destination(other) => other.contains(&net),
            Fact::Identity(_) => {
                let at = |known: &&Known| known.addresses.iter().any(|address| IpNet::from(*address) == net);
                named(fact, self.known.iter().find(at).map(|known| &*known.identity))
            }
            Fact::Port(_) => false,
        }
    }

    /// All that a table has to tell apart, and all there is.
    fn networks(&self, side: u32) -> BTreeSet<IpNet> {
        let everything = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let mut networks: BTreeSet<_> = everything.into_iter().filter_map(|ip| IpNet::new(ip, 0).ok()).collect();
        for fact in self.terms.iter().flatten().map(|literal| literal.fact) {
            match (fact, side) {
                (Fact::Source(net), ASKS_SOURCE) | (Fact::Destination(net), ASKS_DESTINATION) => {
                    networks.insert(net.trunc());
                }
                (Fact::Identity(_), ASKS_SOURCE) => {
                    networks.extend(self.known.iter().flat_map(|known| &known.addresses).copied().map(IpNet::from));
                }
                _ => {}
            }
        }
        networks
    }

    /// First and last ports of the blocks within which no fact changes.
    fn port_blocks(&self) -> Vec<(u16, u16)> {
        let mut first = BTreeSet::from([0]);
        for literal in self.terms.iter().flatten() {
            if let Fact::Port(ports) = literal.fact {
                first.insert(*ports.start());
                first.extend(ports.end().checked_add(1));
            }
        }
        let last = first.iter().skip(1).map(|next| next - 1).chain([u16::MAX]);
        first.iter().copied().zip(last).collect()
    }
}

fn is_identity(fact: &Fact) -> bool {
    matches!(fact, Fact::Identity(_))
}

/// Whether a fact about who connects holds for this one. The rest of what is known does not matter to it.
fn named(fact: &Fact, identity: Option<&str>) -> bool {
    let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    fact.holds(&Facts { source: nowhere, destination: (nowhere, 0).into(), identity })
}

/// The fewest prefixes that are the ports from `first` to `last`.
fn prefixes(first: u16, last: u16) -> Vec<(u16, u8)> {
    let (mut next, end) = (u32::from(first), u32::from(last) + 1);
    let mut found = Vec::new();
    while next < end {
        // As large as its place allows, and no larger than what is left.
        let aligned = if next == 0 { 16 } else { next.trailing_zeros() };
        let bits = aligned.min((end - next).ilog2());
        found.push((next as u16, 16 - bits as u8));
        next += 1 << bits;
    }
    found
}

/// Facts of one alternative.
const MOST_FACTS: usize = 256;

#[cfg(test)]
mod tests;
