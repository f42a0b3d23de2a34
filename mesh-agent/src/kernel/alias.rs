//! The alias table of a service's shares ([`crate::spread::alias`]) as the kernel programs read it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use mesh_common::flow::PortBe;
use mesh_common::service::{Choice, Target};

use crate::model::service::Service;
use crate::spread::alias;

/// The table of these shares, of which only the ratios count. As many choices as there are shares above zero.
pub(crate) fn table(shares: &[(Option<SocketAddr>, f64)]) -> Vec<Choice> {
    let target = |index: u32| shares[index as usize].0.map_or(Target::NOWHERE, target);
    let choice =
        |it: alias::Place| Choice { first: target(it.first), other: target(it.other), threshold: it.threshold };
    alias::table(&shares.iter().map(|(_, share)| *share).collect::<Vec<_>>()).into_iter().map(choice).collect()
}

/// Every endpoint that flows may have, under an index that it has by itself.
pub(crate) fn members(service: &Service) -> Vec<(u32, Choice)> {
    let members: BTreeMap<_, _> = service.endpoints().map(target).map(|it| (it.member_index(), alone(it))).collect();
    members.into_iter().collect()
}

/// A choice of one.
pub(crate) fn alone(target: Target) -> Choice {
    Choice { first: target, other: target, threshold: u32::MAX }
}

/// An address as the kernel programs know it.
pub(crate) fn target(address: SocketAddr) -> Target {
    Target::new(address.ip().into(), PortBe::new(address.port()))
}

#[cfg(test)]
mod tests {
    use mesh_common::service;

    use super::*;

    fn of(shares: &[(Option<SocketAddr>, f64)], resting: &[SocketAddr]) -> Service {
        Service { listener: "l".into(), shares: shares.to_vec(), resting: resting.to_vec(), by_client: None }
    }

    fn shares(weights: &[f64]) -> Vec<(Option<SocketAddr>, f64)> {
        let address = |index: usize| SocketAddr::from(([10, 0, 0, 1], u16::try_from(index + 1).unwrap()));
        weights.iter().enumerate().map(|(index, &weight)| (Some(address(index)), weight)).collect()
    }

    #[test]
    fn members_are_there_once_more() {
        let resting = SocketAddr::from(([10, 0, 0, 2], 80));
        let service = of(&shares(&[1.0, 99.0, 1.0]), &[resting]);
        let members = members(&service);
        assert_eq!(members.len(), 4, "what a flow may have kept is a member, and never chosen");
        for (index, choice) in members {
            assert_eq!((choice.first.member_index(), choice.first), (index, choice.other));
        }
        assert_eq!(table(&service.shares).len(), 3);
        assert_eq!(super::members(&of(&[(None, 1.0)], &[])), []);
    }

    #[test]
    fn choices_follow_the_shares() {
        let weights = [10.0, 30.0, 60.0];
        let table = table(&shares(&weights));
        let service = service::Service { set: 1, count: 3 };
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
