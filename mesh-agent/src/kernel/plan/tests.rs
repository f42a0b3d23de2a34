//! Differences as data.

use mesh_common::flow::PortBe;
use mesh_common::workload::Mode;

use super::*;

fn workload(pod: u32) -> Workload {
    Workload::new(pod, Mode::Permissive, PortBe::new(15001), PortBe::new(15001))
}

fn state(netns: &[(u64, u32)], ports: &[u16], networks: &[&str]) -> State {
    let networks: Vec<IpNet> = networks.iter().map(|text| text.parse().unwrap()).collect();
    State {
        netns: netns.iter().map(|&(cookie, pod)| (cookie, workload(pod))).collect(),
        excluded: Excluded::new(ports, &networks),
        ..State::default()
    }
}

fn network(text: &str) -> Network {
    text.parse::<IpNet>().unwrap().into()
}

#[test]
fn nothing_to_do_for_what_is_the_same() {
    let state = state(&[(1, 1)], &[80], &["10.0.0.0/8"]);
    assert_eq!(diff(&state, &state.clone()), []);
}

#[test]
fn forgets_first_and_learns_last() {
    let old = state(&[(1, 1), (2, 2)], &[22], &["10.0.0.0/8"]);
    let mut new = state(&[(2, 9), (3, 3)], &[23, 8080], &["10.0.0.0/8", "fd00::/8"]);
    new.knobs = Knobs { agent_cgroup: 7, abi: 1, accelerate: 0 };
    new.cgroups.insert(5, workload(4));
    let old = State { locals: [(LOCAL, 2)].into(), ..old };
    new.locals.insert(LOCAL, 3);
    assert_eq!(
        diff(&old, &new),
        [
            MapOp::ForgetNetns(1),
            MapOp::Knobs(new.knobs),
            MapOp::Ports { word: 0, bits: 1 << 23 },
            MapOp::Ports { word: 126, bits: 1 << 16 },
            MapOp::Exclude(network("fd00::/8")),
            MapOp::LearnLocal(LOCAL, 3),
            MapOp::LearnCgroup(5, workload(4)),
            MapOp::LearnNetns(2, workload(9)),
            MapOp::LearnNetns(3, workload(3)),
        ]
    );
}

#[test]
fn an_address_that_nobody_has_is_forgotten() {
    let old = State { locals: [(LOCAL, 2)].into(), ..State::default() };
    assert_eq!(diff(&old, &State::default()), [MapOp::ForgetLocal(LOCAL)]);
}

#[test]
fn exclusions_are_added_before_they_are_taken_away() {
    let old = state(&[], &[80], &["10.1.0.0/16"]);
    let new = state(&[], &[], &["10.0.0.0/8"]);
    assert_eq!(
        diff(&old, &new),
        [
            MapOp::Ports { word: 1, bits: 0 },
            MapOp::Exclude(network("10.0.0.0/8")),
            MapOp::Include(network("10.1.0.0/16"))
        ]
    );
}

#[test]
fn networks_survive_the_border() {
    for text in ["0.0.0.0/0", "10.0.0.0/8", "10.1.2.3/32", "::/0", "fd00::/8", "fd00::1/128"] {
        let (key, prefix) = network(text).to_kernel();
        assert_eq!(Network::from_kernel(key, prefix), network(text), "{text}");
    }
    assert_eq!(network("10.1.2.3/8"), network("10.0.0.0/8"));
    // The family is compared too: all of IPv6 has 32 bits, and none of them are IPv4's.
    assert_eq!(network("::/0").to_kernel().1, 32);
    assert_ne!(network("::/0").to_kernel().0, network("0.0.0.0/0").to_kernel().0);
}

const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
