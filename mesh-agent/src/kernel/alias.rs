//! Shares of a service's endpoints as an alias table (Vose's method): any weighted choice is one index and one coin.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use mesh_common::flow::PortBe;
use mesh_common::service::{Choice, Target};

/// The table of these shares, of which only the ratios count. As many choices as there are shares above zero.
pub(crate) fn table(shares: &[(Option<SocketAddr>, f64)]) -> Vec<Choice> {
    let shares: Vec<_> = shares.iter().filter(|(_, share)| *share > 0.0).collect();
    let target = |index: usize| shares[index].0.map_or(Target::NOWHERE, target);
    let total: f64 = shares.iter().map(|(_, share)| share).sum();
    // Scaled so that an even share is 1.
    let mut left: Vec<f64> = shares.iter().map(|(_, share)| share / total * shares.len() as f64).collect();
    let (mut small, mut large): (Vec<_>, Vec<_>) = (0..left.len()).partition(|&index| left[index] < 1.0);
    // What nobody gives to stands for itself alone; so does what rounding leaves over.
    let mut table: Vec<_> = (0..left.len())
        .map(|index| Choice { first: target(index), other: target(index), threshold: u32::MAX })
        .collect();
    while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
        table[poor].other = target(rich);
        table[poor].threshold = threshold(left[poor]);
        left[rich] -= 1.0 - left[poor];
        if left[rich] < 1.0 {
            large.pop();
            small.push(rich);
        }
    }
    table
}

/// The table with its indexes; `members`: and every endpoint once more, under an index that it has by itself.
pub(crate) fn indexed(shares: &[(Option<SocketAddr>, f64)], members: bool) -> Vec<(u32, Choice)> {
    let table = table(shares);
    let mut by_themselves = BTreeMap::new();
    if members {
        let targets = table.iter().flat_map(|choice| [choice.first, choice.other]).filter(|it| !it.is_nowhere());
        let alone = |target| Choice { first: target, other: target, threshold: u32::MAX };
        by_themselves.extend(targets.map(|target| (target.member_index(), alone(target))));
    }
    (0..).zip(table).chain(by_themselves).collect()
}

/// An address as the kernel programs know it.
pub(crate) fn target(address: SocketAddr) -> Target {
    Target::new(address.ip().into(), PortBe::new(address.port()))
}

/// The highest coin of those that fall on a side with this chance.
fn threshold(chance: f64) -> u32 {
    // The coins from 0 to the threshold are one more than the threshold. `as` keeps within the type's range.
    (chance * COINS - 1.0).round() as u32
}

const COINS: f64 = 4_294_967_296.0;

#[cfg(test)]
mod tests {
    use mesh_common::service::Service;

    use super::*;

    fn shares(weights: &[f64]) -> Vec<(Option<SocketAddr>, f64)> {
        let address = |index: usize| SocketAddr::from(([10, 0, 0, 1], u16::try_from(index + 1).unwrap()));
        weights.iter().enumerate().map(|(index, &weight)| (Some(address(index)), weight)).collect()
    }

    /// The share of each port as the table says, summed exactly.
    fn chances(table: &[Choice], endpoints: usize) -> Vec<f64> {
        let mut chances = vec![0.0; endpoints];
        for choice in table {
            let first = (f64::from(choice.threshold) + 1.0) / COINS;
            chances[usize::from(choice.first.port.get()) - 1] += first / table.len() as f64;
            chances[usize::from(choice.other.port.get()) - 1] += (1.0 - first) / table.len() as f64;
        }
        chances
    }

    #[test]
    fn every_endpoint_has_its_share() {
        for weights in [
            &[1.0][..],
            &[1.0, 1.0, 1.0],
            &[1.0, 99.0],
            &[50.0, 30.0, 20.0],
            &[0.25, 0.125, 0.625, 3.0],
            &[1.0, 1e-6, 1e6],
            &[7.0, 5.0, 3.0, 2.0, 1.0, 1.0, 1.0, 80.0],
        ] {
            let total: f64 = weights.iter().sum();
            let table = table(&shares(weights));
            assert_eq!(table.len(), weights.len());
            for (chance, weight) in chances(&table, weights.len()).into_iter().zip(weights) {
                assert!((chance - weight / total).abs() < 1e-8, "{weights:?}: {chance} for {weight}");
            }
        }
    }

    #[test]
    fn members_are_there_once_more() {
        let table = indexed(&shares(&[1.0, 99.0, 1.0]), true);
        assert_eq!(table.len(), 6);
        for (index, choice) in &table[3..] {
            assert_eq!((choice.first.member_index(), choice.first), (*index, choice.other));
        }
        assert_eq!(indexed(&shares(&[1.0, 99.0]), false).len(), 2);
        assert_eq!(indexed(&[(None, 1.0)], true).len(), 1);
    }

    #[test]
    fn choices_follow_the_shares() {
        let weights = [10.0, 30.0, 60.0];
        let table = table(&shares(&weights));
        let service = Service { set: 1, count: 3 };
        let mut counts = [0_u32; 3];
        // xorshift: any generator will do that is the same each time.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 16) as u32
        };
        for _ in 0..100_000 {
            let target = table[service.index(random()) as usize].toss(random());
            counts[usize::from(target.port.get()) - 1] += 1;
        }
        for (count, weight) in counts.into_iter().zip(weights) {
            assert!((f64::from(count) / 1000.0 - weight).abs() < 1.0, "{counts:?}");
        }
    }

    #[test]
    fn a_share_without_an_endpoint_leads_nowhere_and_none_of_zero_is_chosen() {
        let mut shares = shares(&[1.0, 0.0]);
        shares.push((None, 1.0));
        let table = table(&shares);
        assert_eq!(table.len(), 2);
        assert!(!table[0].first.is_nowhere() && table[1].first.is_nowhere());
        assert_eq!(super::table(&[]), []);
    }
}
