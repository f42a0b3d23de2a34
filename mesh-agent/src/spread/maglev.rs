//! Shares as a table of slots (Maglev): who has the same hash comes to the same endpoint, and when endpoints come or go few others
//! than theirs move.
//!
//! Each endpoint has an order of its own in which it would like the slots, from a hash of its name; they take turns to take the first
//! that is still free, as often as their shares allow. The table depends on names and shares alone, not on the order of endpoints, so
//! every node makes the same (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", section 3.4).

use std::net::IpAddr;

use mesh_common::service::{client_hash, slot};

use crate::model::cluster::TableSize;
use crate::model::endpoint::Slots;

/// The table of these shares with so many slots. `names` are the endpoints'. `None`: there is nobody to have a slot.
#[must_use]
pub fn table(names: &[String], shares: &[f64], size: TableSize) -> Option<Slots> {
    let size = size.get();
    let mut takers: Vec<_> = (0_u32..)
        .zip(names.iter().zip(shares))
        .filter(|(_, (_, share))| **share > 0.0)
        .map(|(index, (name, share))| Taker::new(index, name, *share, size))
        .collect();
    // By what makes the order of slots, so that it does not matter how endpoints are written.
    takers.sort_by_key(|taker| taker.key);
    let most = takers.iter().map(|taker| taker.share).fold(0.0, f64::max);
    let mut slots = vec![NOBODY; size as usize];
    let mut left = slots.len();
    // Whoever has the largest share takes a slot in each round, and everybody one in the first.
    let rounds = (1_u32..).take_while(|_| most > 0.0);
    'full: for round in rounds {
        for (at, taker) in (0_u32..).zip(&mut takers) {
            if f64::from(round) * taker.share < taker.due {
                continue;
            }
            taker.due += most;
            let free = loop {
                let wanted = taker.next();
                if slots[wanted] == NOBODY {
                    break wanted;
                }
            };
            slots[free] = at;
            left -= 1;
            if left == 0 {
                break 'full;
            }
        }
    }
    let members = takers.iter().map(|taker| taker.index).collect();
    (!takers.is_empty()).then_some(Slots { members, slots })
}

/// The number of the slot that is a client's.
#[must_use]
pub fn of_client(client: IpAddr) -> u32 {
    client_hash(client.into())
}

/// The endpoint that has the slot, as an index of what the table was made of.
#[must_use]
pub fn find(table: &Slots, hash: u32) -> Option<u32> {
    table.members.get(member(table, hash)? as usize).copied()
}

/// The same as an index of the table's members.
#[must_use]
pub fn member(table: &Slots, hash: u32) -> Option<u32> {
    let size = u32::try_from(table.slots.len()).ok()?;
    table.slots.get(slot(hash, size) as usize).copied()
}

struct Taker {
    index: u32,
    share: f64,
    key: u64,
    /// When it may take its next slot, in shares times rounds.
    due: f64,
    at: u64,
    skip: u64,
    size: u64,
}

impl Taker {
    fn new(index: u32, name: &str, share: f64, size: u32) -> Self {
        // FNV-1a, mixed well: the two numbers that are drawn from it must not know of each other.
        let key = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let size = u64::from(size);
        // Any step but none reaches every slot, since their number is a prime.
        let skip = mix(key ^ SECOND) % (size - 1).max(1) + 1;
        Self { index, share, key, due: 0.0, at: mix(key) % size, skip, size }
    }

    /// The slot it would like next. The caller sees to it that some slot is free.
    fn next(&mut self) -> usize {
        let wanted = self.at;
        self.at = (self.at + self.skip) % self.size;
        wanted as usize
    }
}

/// Every bit of the answer hangs on every bit of the question (the last steps of SplitMix64).
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

const NOBODY: u32 = u32::MAX;
const SECOND: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("10.1.{}.{}:80", n / 250, n % 250 + 1)).collect()
    }

    /// How many slots each has, and which name has which.
    fn slots(names: &[String], shares: &[f64], size: u32) -> (Vec<u32>, Vec<String>) {
        let size = TableSize::new(size.into()).expect("a prime");
        let table = table(names, shares, size).expect("somebody");
        let mut counts = vec![0; names.len()];
        let owner = |at: &u32| table.members[*at as usize] as usize;
        table.slots.iter().for_each(|at| counts[owner(at)] += 1);
        (counts, table.slots.iter().map(|at| names[owner(at)].clone()).collect())
    }

    #[test]
    fn slots_follow_the_shares() {
        for (shares, size) in [(&[1.0, 1.0, 1.0][..], 65537), (&[1.0, 2.0, 5.0], 65537), (&[1.0, 0.0, 30.0], 1021)] {
            let (counts, _) = slots(&names(shares.len()), shares, size);
            let total: f64 = shares.iter().sum();
            for (count, share) in counts.iter().zip(shares) {
                let expected = share / total * f64::from(size);
                assert!((f64::from(*count) - expected).abs() < 2.0 * shares.len() as f64, "{shares:?}: {counts:?}");
            }
        }
    }

    #[test]
    fn the_order_of_endpoints_does_not_matter() {
        let (names, shares) = (names(7), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 4.0]);
        let (backwards, turned): (Vec<_>, Vec<_>) = names.iter().cloned().zip(shares).rev().unzip();
        assert_eq!(slots(&names, &shares, 1021).1, slots(&backwards, &turned, 1021).1);
    }

    #[test]
    fn few_move_when_one_leaves() {
        for count in [3, 10, 50] {
            let mut names = names(count);
            let (_, before) = slots(&names, &vec![1.0; count], 65537);
            let gone = names.remove(count / 2);
            let (_, after) = slots(&names, &vec![1.0; count - 1], 65537);
            let theirs = before.iter().filter(|name| **name == gone).count() as f64 / 65537.0;
            let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count() as f64 / 65537.0;
            assert!((theirs - 1.0 / count as f64).abs() < 0.001, "{theirs}");
            // Beside theirs, some of those of others: with a table a hundred times as large as there are endpoints, few.
            assert!(moved < theirs + 0.04, "{count}: {moved} moved, {theirs} had to");
        }
    }

    #[test]
    fn a_client_finds_the_same_endpoint_again() {
        let table = table(&names(5), &[1.0; 5], TableSize::new(1021).expect("a prime")).expect("somebody");
        let client: IpAddr = "10.244.0.9".parse().expect("an address");
        let mapped: IpAddr = "::ffff:10.244.0.9".parse().expect("an address");
        assert_eq!(find(&table, of_client(client)), find(&table, of_client(mapped)));
        let mut found = [0; 5];
        for n in 0..5000_u32 {
            let client = IpAddr::from((0x0af4_0000 + n).to_be_bytes());
            found[find(&table, of_client(client)).expect("one") as usize] += 1;
        }
        assert!(found.iter().all(|count| (850..1150).contains(count)), "{found:?}");
    }

    #[test]
    fn odd_tables() {
        let size = TableSize::default();
        assert!(table(&[], &[], size).is_none());
        assert!(table(&names(2), &[0.0, 0.0], size).is_none());
        assert_eq!(slots(&names(1), &[1.0], 2).0, [2]);
        // More endpoints than slots: some have none.
        assert_eq!(slots(&names(9), &[1.0; 9], 7).0.iter().sum::<u32>(), 7);
        // The same name twice: both have their share.
        let twice = [names(1), names(1)].concat();
        let (counts, _) = slots(&twice, &[1.0, 1.0], 101);
        assert!(counts[0].abs_diff(counts[1]) <= 1, "{counts:?}");
    }
}
