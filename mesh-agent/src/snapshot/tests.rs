//! Building: what is resolved, what is rejected, what is shared.

mod demand;
mod extension;
mod hosts;
mod scope;
mod secret;
mod warming;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::model::cluster::{BalancePolicy, Cluster, DEFAULT_PANIC_THRESHOLD, Discovery, DnsFamily, UpstreamProtocol};
use crate::model::endpoint::{Endpoint, Roster};
use crate::model::filter::{NetworkFilter, TcpProxy, WeightedCluster};
use crate::model::flow::Direction;
use crate::model::listener::{ChainMatch, FilterChain, Listener};
use crate::snapshot::{Builder, Change, EndpointSet, Rejected};

fn cluster(name: &str, discovery: Discovery) -> Arc<Cluster> {
    Arc::new(Cluster {
        tls: None,
        name: name.into(),
        discovery,
        connect_timeout: Duration::from_secs(5),
        protocol: UpstreamProtocol::Http1,
        balance: BalancePolicy::RoundRobin,
        panic_threshold: DEFAULT_PANIC_THRESHOLD,
        weighs_localities: false,
    })
}

fn dns(name: &str) -> Arc<Cluster> {
    let discovery =
        Discovery::StrictDns { hosts: Roster::default(), refresh: Duration::from_secs(5), family: DnsFamily::Auto };
    cluster(name, discovery)
}

fn listener(name: &str, address: &str, cluster: &str, catch_all: bool) -> Arc<Listener> {
    let tcp = TcpProxy {
        stat_prefix: name.to_owned(),
        clusters: vec![WeightedCluster { name: cluster.into(), weight: 1 }],
        by_client: false,
        idle_timeout: None,
    };
    Arc::new(Listener {
        name: name.into(),
        address: address.parse().expect("an address"),
        bind: false,
        catch_all,
        direction: Direction::Outbound,
        detect: None,
        chains: vec![FilterChain {
            name: String::new(),
            matches: ChainMatch::default(),
            authorization: Vec::new(),
            filter: NetworkFilter::Tcp(Arc::new(tcp)),
        }],
        default_chain: None,
    })
}

fn endpoint(address: &str) -> Endpoint {
    Endpoint::new(address.parse().expect("an address"), 1)
}

#[test]
fn listeners_are_found_by_address_then_port_then_catch_all() {
    let listeners = [
        listener("exact", "10.0.0.1:80", "c", false),
        listener("port", "0.0.0.0:80", "c", false),
        listener("all", "0.0.0.0:15001", "c", true),
    ];
    let (snapshot, rejected) = Builder::default().build(&listeners, &[dns("c")], &HashMap::new());
    assert_eq!(rejected, []);
    let name = |destination: &str, direction| {
        let found = snapshot.listener_for(direction, destination.parse().expect("an address"));
        found.map_or("none", |listener| listener.config.name.as_str())
    };
    assert_eq!(name("10.0.0.1:80", Direction::Outbound), "exact");
    assert_eq!(name("10.0.0.2:80", Direction::Outbound), "port");
    assert_eq!(name("10.0.0.1:81", Direction::Outbound), "all");
    assert_eq!(name("[fd00::1]:80", Direction::Outbound), "all");
    assert_eq!(name("10.0.0.1:80", Direction::Inbound), "none");
}

#[test]
fn a_bad_listener_leaves_its_siblings() {
    let listeners = [
        listener("good", "10.0.0.1:80", "c", false),
        listener("dangling", "10.0.0.2:80", "missing", false),
        listener("twin", "10.0.0.1:80", "c", false),
    ];
    let (snapshot, rejected) = Builder::default().build(&listeners, &[dns("c")], &HashMap::new());
    assert_eq!(snapshot.listeners().len(), 1);
    assert_eq!(
        rejected,
        [
            Rejected::AddressTaken { listener: "twin".into(), address: ([10, 0, 0, 1], 80).into(), by: "good".into() },
            Rejected::NoSuchCluster { listener: "dangling".into(), cluster: "missing".into() },
        ]
    );
}

#[test]
fn new_endpoints_share_everything_else() {
    let listeners = [listener("l", "10.0.0.1:80", "b", false)];
    let mut builder = Builder::default();
    let (before, _) = builder.build(&listeners, &[dns("a"), dns("b")], &HashMap::new());
    let endpoints =
        Arc::new(EndpointSet::new(Roster { endpoints: vec![endpoint("10.0.0.9:1")], ..Roster::default() }, &dns("b")));
    let resolved = |name: &str| vec![Change::Resolved(name.into(), Arc::clone(&endpoints))];
    let after = builder.apply(resolved("b")).snapshot.expect("something changed");
    assert!(Arc::ptr_eq(&before.listeners()[0], &after.listeners()[0]));
    let [a, b] = [0, 1].map(|index| after.clusters().nth(index).expect("two clusters"));
    assert!(a.endpoints.endpoints.is_empty());
    assert!(Arc::ptr_eq(&b.endpoints, &endpoints));
    assert!(builder.apply(resolved("none")).snapshot.is_none());
}

#[test]
fn a_name_keeps_its_slot() {
    let mut builder = Builder::default();
    let (first, _) = builder.build(&[], &[dns("a"), dns("b")], &HashMap::new());
    let (second, _) = builder.build(&[], &[dns("b")], &HashMap::new());
    let slot = first.clusters().nth(1).expect("two clusters").slot;
    assert_eq!(second.cluster(slot).expect("still there").name(), &"b".into());
    assert_eq!(second.clusters().count(), 1);
}
