//! Round robin, by weight where weights differ.
//!
//! Even shares: an index that goes round. Uneven ones: a walk through the alias table whose steps are the golden section of its
//! length, so that any stretch of picks has each endpoint about as often as it should be there, and heavy ones are spread out, not
//! bunched. Envoy orders turns by deadline in a heap for the same end; this needs no memory and takes the same time for any number.

use crate::snapshot::Turns;

/// Where in the turns a thread is.
#[derive(Debug)]
pub(super) struct RoundRobin(u64);

impl RoundRobin {
    /// Begins somewhere.
    pub(super) fn new(turns: &Turns, random: u32) -> Self {
        match turns {
            Turns::Even(indexes) => Self(u64::from(random) % (indexes.len() as u64).max(1)),
            Turns::Uneven(_) => Self(u64::from(random) << 32),
        }
    }

    /// Index of the endpoint whose turn it is.
    pub(super) fn pick(&mut self, turns: &Turns) -> Option<u32> {
        match turns {
            Turns::Even(indexes) => {
                let index = *indexes.get(self.0 as usize)?;
                self.0 = if self.0 + 1 == indexes.len() as u64 { 0 } else { self.0 + 1 };
                Some(index)
            }
            Turns::Uneven(table) => {
                // The whole numbers of the product are a place, what is behind the point is the coin.
                let point = u128::from(self.0) * table.len() as u128;
                self.0 = self.0.wrapping_add(GOLDEN);
                let place = table.get((point >> 64) as usize)?;
                Some(place.toss((point as u64 >> 32) as u32))
            }
        }
    }
}

/// 2 to the 64 by the golden ratio: multiples of it are spread more evenly than those of any other number.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(shares: &[f64], picks: usize, random: u32) -> Vec<usize> {
        let turns = Turns::new(shares);
        let mut policy = RoundRobin::new(&turns, random);
        let mut counts = vec![0; shares.len()];
        for _ in 0..picks {
            counts[policy.pick(&turns).expect("there are endpoints") as usize] += 1;
        }
        counts
    }

    #[test]
    fn even_shares_go_round() {
        assert_eq!(counts(&[1.0, 1.0, 0.0, 1.0], 9, 2), [3, 3, 0, 3]);
    }

    #[test]
    fn any_stretch_of_picks_has_the_shares() {
        for shares in [&[1.0, 2.0, 5.0][..], &[3.0, 1.0], &[0.2, 0.0, 0.5, 0.05, 0.25], &[1.0, 1.0, 1.0, 30.0]] {
            let total: f64 = shares.iter().sum();
            for (picks, random) in [(8, 0), (40, 7), (40, u32::MAX), (1000, 12345), (100_000, 1 << 31)] {
                for (count, share) in counts(shares, picks, random).into_iter().zip(shares) {
                    let expected = share / total * picks as f64;
                    // Dice would be off by the root of the picks.
                    let most = 1.5 + (picks as f64).ln() / 2.0;
                    assert!((count as f64 - expected).abs() < most, "{shares:?}, {picks}: {count} for {expected}");
                }
            }
        }
    }

    #[test]
    fn heavy_endpoints_are_not_bunched() {
        let turns = Turns::new(&[3.0, 1.0]);
        let mut policy = RoundRobin::new(&turns, 99);
        let picks: Vec<_> = (0..1000).map_while(|_| policy.pick(&turns)).collect();
        assert!(picks.windows(6).all(|some| some.contains(&1)), "the light one waits no longer than six");
        assert!(picks.windows(2).all(|two| two != [1, 1]), "and never has two turns running");
    }

    #[test]
    fn nothing_to_pick_from() {
        for shares in [&[][..], &[0.0, 0.0]] {
            let turns = Turns::new(shares);
            assert_eq!(RoundRobin::new(&turns, 7).pick(&turns), None);
        }
    }
}
