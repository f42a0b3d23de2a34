//! Shares as an alias table (Vose's method): any weighted choice is one index and one coin.
//!
//! The agent walks through the table evenly ([`crate::balance`]), the kernel throws dice at it.

/// One place of the table, as likely as any other. Stands for two indexes of the shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Taken if the coin is not above the threshold.
    pub first: u32,
    /// Taken otherwise.
    pub other: u32,
    /// The chance of the first: the coin is any `u32`, each as likely.
    pub threshold: u32,
}

impl Place {
    /// Which of the two.
    #[must_use]
    pub fn toss(&self, coin: u32) -> u32 {
        if coin <= self.threshold { self.first } else { self.other }
    }
}

/// The table of these shares, of which only the ratios count. As many places as there are shares above zero.
#[must_use]
pub fn table(shares: &[f64]) -> Vec<Place> {
    let (indexes, shares): (Vec<_>, Vec<_>) =
        (0_u32..).zip(shares.iter().copied()).filter(|(_, share)| *share > 0.0).unzip();
    let total: f64 = shares.iter().sum();
    // Scaled so that an even share is 1.
    let mut left: Vec<f64> = shares.iter().map(|share| share / total * shares.len() as f64).collect();
    let (mut small, mut large): (Vec<_>, Vec<_>) = (0..left.len()).partition(|&at| left[at] < 1.0);
    // What nobody gives to stands for itself alone; so does what rounding leaves over.
    let alone = |index| Place { first: index, other: index, threshold: u32::MAX };
    let mut table: Vec<_> = indexes.iter().copied().map(alone).collect();
    while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
        table[poor].other = indexes[rich];
        table[poor].threshold = threshold(left[poor]);
        left[rich] -= 1.0 - left[poor];
        if left[rich] < 1.0 {
            large.pop();
            small.push(rich);
        }
    }
    table
}

/// The highest coin of those that fall on a side with this chance.
fn threshold(chance: f64) -> u32 {
    // The coins from 0 to the threshold are one more than the threshold. `as` keeps within the type's range.
    (chance * COINS - 1.0).round() as u32
}

const COINS: f64 = 4_294_967_296.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of each index as the table says, summed exactly.
    fn chances(table: &[Place], indexes: usize) -> Vec<f64> {
        let mut chances = vec![0.0; indexes];
        for place in table {
            let first = (f64::from(place.threshold) + 1.0) / COINS;
            chances[place.first as usize] += first / table.len() as f64;
            chances[place.other as usize] += (1.0 - first) / table.len() as f64;
        }
        chances
    }

    #[test]
    fn every_index_has_its_share() {
        for weights in [
            &[1.0][..],
            &[1.0, 1.0, 1.0],
            &[1.0, 99.0],
            &[50.0, 0.0, 30.0, 20.0],
            &[0.25, 0.125, 0.625, 3.0],
            &[1.0, 1e-6, 1e6],
            &[7.0, 5.0, 3.0, 2.0, 1.0, 1.0, 1.0, 80.0, 0.0],
        ] {
            let total: f64 = weights.iter().sum();
            let table = table(weights);
            assert_eq!(table.len(), weights.iter().filter(|weight| **weight > 0.0).count());
            for (chance, weight) in chances(&table, weights.len()).into_iter().zip(weights) {
                assert!((chance - weight / total).abs() < 1e-8, "{weights:?}: {chance} for {weight}");
            }
        }
        assert_eq!(table(&[]), []);
        assert_eq!(table(&[0.0]), []);
    }
}
