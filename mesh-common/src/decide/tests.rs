//! The decision as a table.

use std::net::IpAddr;

use super::*;
use crate::flow::PortBe;

fn addr(text: &str) -> Addr {
    Addr::from(text.parse::<IpAddr>().unwrap())
}

fn workload(mode: Mode) -> Workload {
    Workload::new(1, mode, PortBe::new(15001), PortBe::new(15001))
}

fn connect(destination: &str) -> Question {
    offered(destination, Offer::Nothing)
}

fn offered(destination: &str, offer: Offer) -> Question {
    Question::Connect { destination: addr(destination), excluded: false, bound_to_device: false, offer }
}

fn accept(client: &str, destination: &str) -> Question {
    Question::Accept { client: addr(client), destination: addr(destination), excluded: false, claimed: true }
}

#[track_caller]
fn check(question: Question, expected: Verdict) {
    for mode in [Mode::Permissive, Mode::Enforce] {
        assert_eq!(decide(&workload(mode), question), expected, "{mode:?} {question:?}");
    }
}

#[test]
fn a_workload_is_steered_by_what_it_speaks() {
    check(connect("10.0.0.1"), Verdict::Steer(Family::V4));
    check(connect("::ffff:10.0.0.1"), Verdict::Steer(Family::V4));
    check(connect("169.254.169.254"), Verdict::Steer(Family::V4));
    check(connect("fd00::1"), Verdict::Steer(Family::V6));
}

#[test]
fn what_stays_in_the_namespace_passes() {
    for destination in ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1"] {
        check(connect(destination), Verdict::Pass(Counter::PassedLocal));
    }
}

#[test]
fn excluded_and_bound_connections_pass() {
    let destination = addr("10.0.0.1");
    for offer in [Offer::Nothing, Offer::Endpoints, Offer::NoEndpoint] {
        check(
            Question::Connect { destination, excluded: true, bound_to_device: false, offer },
            Verdict::Pass(Counter::PassedExcluded),
        );
        check(
            Question::Connect { destination, excluded: false, bound_to_device: true, offer },
            Verdict::Pass(Counter::PassedBound),
        );
    }
    check(connect("fe80::1"), Verdict::Pass(Counter::PassedBound));
}

#[test]
fn what_the_kernel_can_serve_it_does() {
    for destination in ["10.0.0.1", "::ffff:10.0.0.1", "fd00::1"] {
        check(offered(destination, Offer::Endpoints), Verdict::Direct(Protocol::Tcp));
        check(offered(destination, Offer::NoEndpoint), Verdict::Deny(Counter::DeniedNoEndpoint));
    }
    check(offered("127.0.0.1", Offer::Endpoints), Verdict::Pass(Counter::PassedLocal));
}

#[test]
fn datagrams_go_to_an_endpoint_or_pass() {
    let send = |destination: &str, excluded, bound_to_device, offer| Question::Send {
        destination: addr(destination),
        excluded,
        bound_to_device,
        offer,
    };
    for destination in ["10.0.0.1", "::ffff:10.0.0.1", "fd00::1"] {
        check(send(destination, false, false, Offer::Endpoints), Verdict::Direct(Protocol::Udp));
        check(send(destination, false, false, Offer::NoEndpoint), Verdict::Deny(Counter::DatagramsDenied));
        check(send(destination, false, false, Offer::Nothing), Verdict::Pass(Counter::DatagramsPassed));
        check(send(destination, true, false, Offer::Endpoints), Verdict::Pass(Counter::DatagramsPassed));
        check(send(destination, false, true, Offer::NoEndpoint), Verdict::Pass(Counter::DatagramsPassed));
    }
    for destination in ["127.0.0.1", "::1", "fe80::1"] {
        check(send(destination, false, false, Offer::Endpoints), Verdict::Pass(Counter::DatagramsPassed));
    }
}

#[test]
fn what_comes_from_outside_is_steered_and_what_the_agent_delivers_is_not() {
    check(accept("10.0.0.9", "10.0.0.1"), Verdict::Steer(Family::V4));
    check(accept("fd00::9", "fd00::1"), Verdict::Steer(Family::V6));
    check(accept("10.0.0.1", "10.0.0.1"), Verdict::Pass(Counter::InboundLocal));
    check(accept("127.0.0.1", "127.0.0.1"), Verdict::Pass(Counter::InboundLocal));
    check(accept("10.0.0.1", "127.0.0.1"), Verdict::Pass(Counter::InboundLocal));
    check(accept("::1", "::1"), Verdict::Pass(Counter::InboundLocal));
    let question = |excluded, claimed| {
        let (client, destination) = (addr("10.0.0.9"), addr("10.0.0.1"));
        Question::Accept { client, destination, excluded, claimed }
    };
    check(question(true, true), Verdict::Pass(Counter::InboundExcluded));
    check(question(true, false), Verdict::Pass(Counter::InboundExcluded));
    check(question(false, false), Verdict::Pass(Counter::InboundUnclaimed));
}

#[test]
fn a_policy_refuses_or_changes_nothing() {
    for (verdict, way, denied) in [
        (Verdict::Direct(Protocol::Tcp), Way::Outbound, Counter::DeniedPolicy),
        (Verdict::Pass(Counter::InboundUnclaimed), Way::Inbound, Counter::InboundDeniedPolicy),
    ] {
        assert_eq!(by_policy(verdict, Judgement::Allowed, way), Ok(verdict));
        for rule in [0, 7] {
            assert_eq!(by_policy(verdict, Judgement::Denied(rule), way), Ok(Verdict::Deny(denied)));
        }
        assert_eq!(by_policy(verdict, Judgement::Unknown, way), Err(Failure::NoPolicy));
    }
}

#[test]
fn failures_end_by_mode() {
    use Counter as C;
    use Mode::{Enforce, Permissive};
    use Way::{Inbound, Outbound};
    let mishaps = [Failure::NoListener, Failure::NoMemory, Failure::NoConfig];
    let absences = [Failure::AgentGone, Failure::AgentSilent];
    for (mode, way, mishap, absence) in [
        (Permissive, Outbound, Verdict::Pass(C::PassedFailed), Verdict::Pass(C::PassedNoAgent)),
        (Permissive, Inbound, Verdict::Pass(C::InboundPassedFailed), Verdict::Pass(C::InboundPassedNoAgent)),
        (Enforce, Outbound, Verdict::Deny(C::DeniedFailed), Verdict::Deny(C::DeniedNoAgent)),
        (Enforce, Inbound, Verdict::Deny(C::InboundDeniedFailed), Verdict::Deny(C::InboundDeniedNoAgent)),
    ] {
        let end = |failure| decide(&workload(mode), Question::Failed(way, failure));
        assert!(mishaps.into_iter().all(|failure| end(failure) == mishap), "{mode:?} {way:?}");
        assert!(absences.into_iter().all(|failure| end(failure) == absence), "{mode:?} {way:?}");
    }
}
