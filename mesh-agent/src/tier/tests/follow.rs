//! Following snapshots comes to the same as deriving each anew.

use std::sync::Arc;

use crate::file;
use crate::model::cluster::{Assignment, Discovery, Eds};
use crate::model::config::Config;
use crate::model::endpoint::{Endpoint, Roster};
use crate::model::management::{ConfigSource, Origin};
use crate::model::resource::{Resource, ResourceKind};
use crate::snapshot::{Builder, Change};
use crate::tier::{Follower, Step, by_kernel};

/// Listeners of every sort: services of one cluster and of two, one with HTTP, one with a policy, one for what comes in, one for UDP.
fn config() -> Config {
    let listener = |name: &str, port: u16, more: &str, filters: &str| {
        format!(
            "  - {{name: {name}, address: {{socket_address: {{address: 10.0.0.1, port_value: {port}}}}}, \
             bind_to_port: false{more}, filter_chains: [{{filters: [{filters}]}}]}}\n"
        )
    };
    let tcp = |to: &str| {
        format!(
            "{{name: tcp, typed_config: {{'@type': t/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, \
             stat_prefix: t, {to}}}}}"
        )
    };
    let rules = "{name: rbac, typed_config: {'@type': t/envoy.extensions.filters.network.rbac.v3.RBAC, stat_prefix: r, \
                 rules: {policies: {p: {permissions: [{any: true}], principals: [{any: true}]}}}}}, ";
    let both = "weighted_clusters: {clusters: [{name: c0, weight: 1}, {name: c1, weight: 3}]}";
    let clusters: String =
        (0..4).map(|index| format!("  - {{name: c{index}, load_assignment: {{cluster_name: c{index}}}}}\n")).collect();
    let udp = "  - {name: u, address: {socket_address: {address: 10.0.0.1, port_value: 53, protocol: UDP}}, bind_to_port: false, \
               listener_filters: [{name: udp, typed_config: {'@type': \
               t/envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig, stat_prefix: u, cluster: c2}}]}\n";
    let text = format!(
        "mesh: {{workloads: [{{name: w, cgroup: w}}]}}\nstatic_resources:\n  clusters:\n{clusters}  listeners:\n{}{}{}{}{udp}",
        listener("one", 80, "", &tcp("cluster: c0")),
        listener("two", 81, "", &tcp(both)),
        listener("ruled", 82, "", &format!("{rules}{}", tcp("cluster: c3"))),
        listener("in", 83, ", traffic_direction: INBOUND", &format!("{rules}{}", tcp("cluster: c1"))),
    );
    file::parse(&text, |_| Vec::new()).expect("a configuration")
}

/// The configuration with all endpoints to come by themselves.
fn start() -> (Builder, Follower) {
    let config = config();
    let mut builder = Builder::default();
    let mut changes = Vec::new();
    for cluster in &config.clusters {
        let source = ConfigSource { origin: Origin::Server, initial_fetch_timeout: None };
        let eds = Discovery::Eds(Eds { service: cluster.name.shared(), source });
        let cluster = crate::model::cluster::Cluster { discovery: eds, ..(**cluster).clone() };
        changes.push(Change::Put(Resource::Cluster(Arc::new(cluster))));
    }
    changes.extend((0..4).map(|index| endpoints(index, &["10.1.0.1:80"])));
    changes.extend(config.listeners.iter().map(|it| Change::Put(Resource::Listener(Arc::clone(it)))));
    changes.extend(config.udp_listeners.iter().map(|it| Change::Put(Resource::UdpListener(Arc::clone(it)))));
    let mut follower = Follower::default();
    assert_eq!(step(&mut builder, &mut follower, changes), Step::All);
    (builder, follower)
}

fn endpoints(cluster: usize, addresses: &[&str]) -> Change {
    let endpoint = |address: &&str| Endpoint::new(address.parse().expect("an address"), 1);
    let roster = Roster { endpoints: addresses.iter().map(endpoint).collect(), ..Roster::default() };
    Change::Put(Resource::Endpoints(Arc::new(Assignment { name: format!("c{cluster}").into(), roster })))
}

/// Takes changes in, and compares.
fn step(builder: &mut Builder, follower: &mut Follower, changes: Vec<Change>) -> Step {
    let applied = builder.apply(changes);
    let Some(snapshot) = applied.snapshot else { return Step::Nothing };
    let step = follower.follow(&snapshot, applied.clusters.as_deref());
    assert_eq!(*follower.now(), by_kernel(&snapshot));
    step
}

fn ports(step: Step) -> Vec<u16> {
    match step {
        Step::Services(mut keys) => {
            keys.sort_unstable();
            keys.dedup();
            keys.iter().map(|(_, address)| address.port()).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_endpoint_changes_the_services_it_is_one_of() {
    let (mut builder, mut follower) = start();
    assert_eq!(follower.now().services.0.len(), 4);
    let two = &["10.1.0.1:80", "10.1.0.2:80"];
    assert_eq!(ports(step(&mut builder, &mut follower, vec![endpoints(0, two)])), [80, 81]);
    assert_eq!(ports(step(&mut builder, &mut follower, vec![endpoints(2, two)])), [53]);
    assert_eq!(step(&mut builder, &mut follower, vec![endpoints(2, two)]), Step::Nothing);
    // A policy, what comes in, and a service that becomes none are looked at as a whole.
    assert_eq!(step(&mut builder, &mut follower, vec![endpoints(3, two)]), Step::All);
    assert_eq!(step(&mut builder, &mut follower, vec![endpoints(0, &["[fd00::1]:80"])]), Step::All);
    assert_eq!(follower.now().services.0.len(), 2);
}

#[test]
fn whatever_comes_it_is_as_if_derived_anew() {
    let (mut builder, mut follower) = start();
    let sets: [&[&str]; 4] = [&[], &["10.1.0.1:80"], &["10.1.0.1:80", "10.1.0.3:80"], &["[fd00::1]:80"]];
    let mut state = 0x5eed_u64;
    let mut random = |limit: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % limit).expect("small")
    };
    let listeners = config().listeners;
    for _ in 0..500 {
        let change = match random(8) {
            0 => Change::Remove(ResourceKind::Listener, listeners[random(4)].name.shared()),
            1 => Change::Put(Resource::Listener(Arc::clone(&listeners[random(4)]))),
            _ => endpoints(random(4), sets[random(4)]),
        };
        step(&mut builder, &mut follower, vec![change]);
    }
}
