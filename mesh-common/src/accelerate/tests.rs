//! The rules of a direction: forward only, bounded, and never between strangers.

use super::*;
use crate::flow::{Addr, Family, PortBe};

fn leg(side: Side) -> Leg {
    let (a, b) = ((Addr::loopback(Family::V4), PortBe::new(1)), (Addr::loopback(Family::V4), PortBe::new(2)));
    Leg::new(FlowKey::new(7, a, b), FlowKey::new(7, b, a), side, Path::Undecided)
}

#[test]
fn a_path_never_goes_back() {
    let mut leg = leg(Side::Connecting);
    for (step, now) in [
        (Path::Undecided, Path::Undecided),
        (Path::Direct, Path::Direct),
        (Path::Undecided, Path::Direct),
        (Path::Tcp, Path::Tcp),
        (Path::Direct, Path::Tcp),
        (Path::Undecided, Path::Tcp),
    ] {
        leg.advance(step);
        assert_eq!(leg.path(), now);
    }
}

#[test]
fn both_ends_have_one_key() {
    let connecting = leg(Side::Connecting);
    let accepting = Leg::new(connecting.peer, connecting.own, Side::Accepting, Path::Undecided);
    assert_eq!(connecting.pair(), accepting.pair());
    assert_eq!((connecting.side(), accepting.side()), (Side::Connecting, Side::Accepting));
}

#[test]
fn a_side_that_is_not_answered_is_stopped() {
    let mut pair = Pair::new(0, 0, [Path::Undecided; 2]);
    let half = u32::try_from(MOST_UNANSWERED / 2).unwrap();
    for (side, other) in [(Side::Connecting, Side::Accepting), (Side::Accepting, Side::Connecting)] {
        assert_eq!(pair.admit(side, half), Ok(()));
        assert_eq!(pair.admit(side, half), Ok(()));
        assert_eq!(pair.admit(side, 1), Err(Limit::Unanswered));
        // Its own sending is no answer.
        pair.answer(side);
        assert_eq!(pair.admit(side, 1), Err(Limit::Unanswered));
        pair.answer(other);
        assert_eq!(pair.admit(side, half), Ok(()));
    }
}

#[test]
fn answers_do_not_stretch_the_share() {
    let mut pair = Pair::new(0, 0, [Path::Undecided; 2]);
    let message = u32::try_from(MOST_UNANSWERED).unwrap();
    for _ in 0..SHARE / MOST_UNANSWERED {
        assert_eq!(pair.admit(Side::Connecting, message), Ok(()));
        pair.answer(Side::Accepting);
    }
    assert_eq!(pair.admit(Side::Connecting, 1), Err(Limit::Share));
    assert_eq!(pair.admit(Side::Accepting, 1), Ok(()));

    // A turn that began before is not cut in two.
    let mut pair = Pair::new(0, 0, [Path::Undecided; 2]);
    for _ in 1..SHARE / MOST_UNANSWERED {
        assert_eq!(pair.admit(Side::Connecting, message), Ok(()));
        pair.answer(Side::Accepting);
    }
    assert_eq!(pair.admit(Side::Connecting, message - 1), Ok(()));
    pair.answer(Side::Accepting);
    assert_eq!(pair.admit(Side::Connecting, 1), Ok(()));
    assert_eq!(pair.admit(Side::Connecting, 1), Ok(()));
    pair.answer(Side::Accepting);
    assert_eq!(pair.admit(Side::Connecting, 1), Err(Limit::Share));
}

#[test]
fn ends_of_different_connections_do_not_fit() {
    let pair = Pair::new(1000, 2000, [Path::Undecided, Path::Tcp]);
    assert_eq!((pair.begins(Side::Connecting), pair.begins(Side::Accepting)), (Path::Undecided, Path::Tcp));
    assert!(pair.is_accepted_as(2000, 1000));
    assert!(!pair.is_accepted_as(1000, 2000) && !pair.is_accepted_as(2000, 1001));
}

#[test]
fn directions_are_switched_one_by_one() {
    let both = Directions::TO_AGENT.and(Directions::TO_APP);
    assert!(both.has(Directions::TO_APP) && !Directions::TO_AGENT.has(both) && Directions::default().is_none());
    assert_eq!(Directions::TO_APP.begin(Directions::TO_AGENT), Path::Tcp);
    assert_eq!(Directions::from_bits(both.bits()).begin(both), Path::Undecided);
}

#[test]
fn a_pair_is_needed_until_both_have_closed() {
    let new = || Pair::new(0, 0, [Path::Undecided; 2]);
    assert!(new().close(Side::Connecting), "nobody accepted");
    for first in [Side::Connecting, Side::Accepting] {
        let mut pair = new();
        pair.enter();
        assert!(!pair.close(first));
        assert!(pair.close(first.other()));
    }
}
