//! Round robin, by weight where weights differ.
//!
//! Even weights: an index that goes round. Uneven ones: earliest deadline first, as Envoy's `ROUND_ROBIN` does it: each endpoint's
//! next turn is `1/weight` after its last, so turns of heavy endpoints are spread out, not bunched. A pick costs O(log n).

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::snapshot::EndpointSet;

/// Turns of one cluster's endpoints.
#[derive(Debug)]
pub(super) enum RoundRobin {
    Even { next: usize, len: usize },
    Weighted(BinaryHeap<Reverse<Turn>>),
}

impl RoundRobin {
    pub(super) fn new(set: &EndpointSet, random: u32) -> Self {
        let len = set.endpoints.len();
        if set.even {
            return Self::Even { next: (random as usize) % len.max(1), len };
        }
        let mut turns: BinaryHeap<_> = set
            .endpoints
            .iter()
            .enumerate()
            .map(|(index, endpoint)| {
                Reverse(Turn { deadline: 1.0 / f64::from(endpoint.weight), weight: endpoint.weight, index })
            })
            .collect();
        // Begin somewhere in the schedule: a rotation through the whole of it would cost the sum of the weights.
        for _ in 0..random as usize % (2 * len) {
            take_turn(&mut turns);
        }
        Self::Weighted(turns)
    }

    /// Index of the endpoint whose turn it is.
    pub(super) fn pick(&mut self) -> Option<usize> {
        match self {
            Self::Even { len: 0, .. } => None,
            Self::Even { next, len } => {
                let index = *next;
                *next = if index + 1 == *len { 0 } else { index + 1 };
                Some(index)
            }
            Self::Weighted(turns) => take_turn(turns),
        }
    }
}

/// When an endpoint is due next, in a time that moves only with picks.
#[derive(Debug)]
pub(super) struct Turn {
    deadline: f64,
    weight: u32,
    index: usize,
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        self.deadline.total_cmp(&other.deadline).then(self.index.cmp(&other.index))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Turn {}

fn take_turn(turns: &mut BinaryHeap<Reverse<Turn>>) -> Option<usize> {
    let mut due = turns.peek_mut()?;
    let index = due.0.index;
    due.0.deadline += 1.0 / f64::from(due.0.weight);
    Some(index)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::RoundRobin;
    use crate::model::cluster::Endpoint;
    use crate::snapshot::EndpointSet;

    fn shares(weights: &[u32], picks: usize, random: u32) -> Vec<usize> {
        let endpoints = weights
            .iter()
            .map(|&weight| Arc::new(Endpoint { address: ([127, 0, 0, 1], 80).into(), weight, hostname: None }))
            .collect();
        let mut policy = RoundRobin::new(&EndpointSet::new(endpoints), random);
        let mut counts = vec![0; weights.len()];
        for _ in 0..picks {
            counts[policy.pick().expect("there are endpoints")] += 1;
        }
        counts
    }

    #[test]
    fn even_weights_go_round() {
        assert_eq!(shares(&[1, 1, 1], 9, 2), [3, 3, 3]);
    }

    #[test]
    fn shares_follow_weights() {
        assert_eq!(shares(&[1, 2, 5], 80, 0), [10, 20, 50]);
    }

    #[test]
    fn heavy_endpoints_are_not_bunched() {
        let counts = shares(&[3, 1], 4, 0);
        assert_eq!(counts, [3, 1], "within one round everyone had their share");
    }

    #[test]
    fn nothing_to_pick_from() {
        assert_eq!(RoundRobin::new(&EndpointSet::new(Vec::new()), 7).pick(), None);
    }
}
