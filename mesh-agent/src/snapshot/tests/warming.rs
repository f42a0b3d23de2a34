//! What goes live when: make before break, change by change.

use std::sync::Arc;
use std::time::Duration;

use super::{cluster, endpoint};
use crate::model::cluster::{Assignment, Cluster, Discovery, Eds};
use crate::model::endpoint::Roster;
use crate::model::filter::{NetworkFilter, RouteSource};
use crate::model::flow::Direction;
use crate::model::listener::Listener;
use crate::model::management::{ConfigSource, Origin};
use crate::model::resource::{Resource, ResourceKind as Kind};
use crate::protobuf;
use crate::route::RouteTable;
use crate::snapshot::{Applied, Builder, Change, HttpChain, LiveFilter, Need, Snapshot};

pub(super) fn source() -> ConfigSource {
    ConfigSource { origin: Origin::Server, initial_fetch_timeout: Some(Duration::from_secs(15)) }
}

fn eds(name: &str, service: &str) -> Arc<Cluster> {
    cluster(name, Discovery::Eds(Eds { service: service.into(), source: source() }))
}

pub(super) fn put_cluster(name: &str, service: &str) -> Change {
    Change::Put(Resource::Cluster(eds(name, service)))
}

pub(super) fn put_endpoints(service: &str, address: &str) -> Change {
    let roster = Roster { endpoints: vec![endpoint(address)], ..Roster::default() };
    Change::Put(Resource::Endpoints(Arc::new(Assignment { name: service.into(), roster })))
}

pub(super) fn read(kind: Kind, yaml: &str) -> Change {
    let tree = crate::file::yaml::parse(yaml).0.expect("YAML");
    let bytes = protobuf::tests::encode::encode(kind.message(), &tree);
    Change::Put(protobuf::resource(kind, &bytes).expect("a good resource"))
}

pub(super) fn put_listener(name: &str, port: u16, routes: &str) -> Change {
    read(
        Kind::Listener,
        &format!(
            "{{ name: {name}, address: {{ socket_address: {{ address: 10.0.0.1, port_value: {port} }} }},
            filter_chains: [{{ filters: [{{ name: http, typed_config: {{
            '@type': t/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
            stat_prefix: x, rds: {{ route_config_name: {routes}, config_source: {{ ads: {{}}, resource_api_version: V3 }} }},
            http_filters: [{{ name: r, typed_config: {{ '@type': t/envoy.extensions.filters.http.router.v3.Router }} }}]
            }} }}] }}] }}"
        ),
    )
}

pub(super) fn put_routes(name: &str, cluster: &str) -> Change {
    read(
        Kind::Route,
        &format!(
            "{{ name: {name}, virtual_hosts: [{{ name: v, domains: ['*'],
            routes: [{{ match: {{ prefix: / }}, route: {{ cluster: {cluster} }} }}] }}] }}"
        ),
    )
}

pub(super) fn remove(kind: Kind, name: &str) -> Change {
    Change::Remove(kind, name.into())
}

pub(super) fn need(kind: Kind, name: &str) -> Need {
    Need { kind, name: name.into() }
}

fn waiting(builder: &Builder) -> Vec<String> {
    builder.waiting().map(|(kind, name, need)| format!("{kind} {name} for {} {}", need.kind, need.name)).collect()
}

pub(super) fn wanted(applied: &Applied) -> Vec<String> {
    applied.wanted.iter().map(|(need, _)| format!("{} {}", need.kind, need.name)).collect()
}

pub(super) fn unwanted(applied: &Applied) -> Vec<String> {
    applied.unwanted.iter().map(|(need, _)| format!("{} {}", need.kind, need.name)).collect()
}

/// The address of the endpoint of each live cluster, in the order of slots.
fn addresses(snapshot: &Snapshot) -> Vec<String> {
    let first = |set: &crate::snapshot::EndpointSet| set.endpoints.first().map(|it| it.address.to_string());
    snapshot.clusters().map(|live| first(&live.endpoints).unwrap_or_default()).collect()
}

/// The chain of the one HTTP listener.
pub(super) fn http(snapshot: &Snapshot) -> Arc<HttpChain> {
    match &snapshot.listeners()[0].chains[0].filter {
        LiveFilter::Http(chain) => Arc::clone(chain),
        LiveFilter::Tcp(_) => panic!("TCP"),
    }
}

fn table<'a>(chain: &'a HttpChain, snapshot: &'a Snapshot) -> &'a RouteTable {
    chain.table(snapshot, &crate::route::tests::get("/")).expect("nothing is on demand")
}

#[test]
fn a_cluster_waits_for_its_endpoints() {
    let mut builder = Builder::default();
    let applied = builder.apply(vec![put_cluster("c", "s")]);
    assert!(applied.snapshot.is_none());
    assert_eq!((wanted(&applied), waiting(&builder)), (vec!["EDS s".into()], vec!["CDS c for EDS s".into()]));
    let applied = builder.apply(vec![put_endpoints("s", "10.0.0.9:1")]);
    assert_eq!(addresses(&applied.snapshot.expect("live")), ["10.0.0.9:1"]);
    assert!(waiting(&builder).is_empty());
    // The same again changes nothing.
    let again = builder.apply(vec![put_cluster("c", "s"), put_endpoints("s", "10.0.0.9:1")]);
    assert!(again.snapshot.is_none() && again.wanted.is_empty());
}

#[test]
fn a_cluster_that_asks_for_other_endpoints_keeps_the_old_ones_until_they_come() {
    let mut builder = Builder::default();
    builder.apply(vec![put_cluster("c", "old"), put_endpoints("old", "10.0.0.1:1")]);
    let applied = builder.apply(vec![put_cluster("c", "new")]);
    assert!(applied.snapshot.is_none());
    assert_eq!((wanted(&applied), unwanted(&applied)), (vec!["EDS new".into()], vec![]));
    // Those of the live one are still followed.
    let applied = builder.apply(vec![put_endpoints("old", "10.0.0.2:1")]);
    assert_eq!(addresses(&applied.snapshot.expect("live")), ["10.0.0.2:1"]);
    let applied = builder.apply(vec![put_endpoints("new", "10.0.0.3:1")]);
    assert_eq!(unwanted(&applied), ["EDS old"]);
    assert_eq!(addresses(&applied.snapshot.expect("live")), ["10.0.0.3:1"]);
}

#[test]
fn what_is_given_up_is_done_without_and_used_when_it_comes() {
    let mut builder = Builder::default();
    builder.apply(vec![put_cluster("c", "s")]);
    let applied = builder.apply(vec![Change::GiveUp(need(Kind::Endpoints, "s"))]);
    assert_eq!(addresses(&applied.snapshot.expect("live")), [""]);
    let applied = builder.apply(vec![put_endpoints("s", "10.0.0.9:1")]);
    assert_eq!(addresses(&applied.snapshot.expect("live")), ["10.0.0.9:1"]);
}

#[test]
fn what_is_said_not_to_exist_is_not_waited_for_and_what_is_in_use_stays() {
    let mut builder = Builder::default();
    builder.apply(vec![put_cluster("c", "s"), put_listener("l", 80, "r")]);
    let applied = builder.apply(vec![remove(Kind::Endpoints, "s")]);
    assert_eq!(addresses(&applied.snapshot.expect("live, with nobody")), [""]);
    let applied = builder.apply(vec![remove(Kind::Route, "r")]);
    assert!(applied.snapshot.is_some() && waiting(&builder).is_empty(), "the listener, without routes");
    let applied = builder.apply(vec![put_endpoints("s", "10.0.0.9:1"), put_routes("r", "c")]);
    assert_eq!(addresses(&applied.snapshot.expect("they come after all")), ["10.0.0.9:1"]);
    let applied = builder.apply(vec![remove(Kind::Endpoints, "s"), remove(Kind::Route, "r")]);
    assert!(applied.snapshot.is_none() && applied.unwanted.is_empty(), "in use: they stay");
}

#[test]
fn a_listener_waits_for_its_routes_and_they_for_their_clusters() {
    let mut builder = Builder::default();
    let applied = builder.apply(vec![put_listener("l", 80, "r")]);
    assert!(applied.snapshot.is_none());
    assert_eq!(wanted(&applied), ["RDS r"]);
    assert!(builder.apply(vec![put_routes("r", "c")]).snapshot.is_none());
    assert_eq!(waiting(&builder), ["LDS l for RDS r", "RDS r for CDS c"]);
    assert!(builder.apply(vec![put_cluster("c", "s")]).snapshot.is_none());
    let snapshot = builder.apply(vec![put_endpoints("s", "10.0.0.9:1")]).snapshot.expect("all of it is live");
    assert_eq!((snapshot.listeners().len(), snapshot.clusters().count()), (1, 1));
    assert!(waiting(&builder).is_empty());
}

#[test]
fn all_of_it_at_once_in_any_order_is_one_snapshot() {
    let all =
        [put_routes("r", "c"), put_listener("l", 80, "r"), put_endpoints("s", "10.0.0.9:1"), put_cluster("c", "s")];
    for shift in 0..all.len() {
        let mut changes = all.to_vec();
        changes.rotate_left(shift);
        let mut builder = Builder::default();
        let applied = builder.apply(changes);
        assert_eq!(wanted(&applied), ["EDS s", "RDS r"]);
        let snapshot = applied.snapshot.expect("live");
        assert_eq!((snapshot.listeners().len(), snapshot.clusters().count()), (1, 1));
    }
}

#[test]
fn what_takes_the_place_of_another_takes_over_what_that_used() {
    let mut builder = Builder::default();
    let first = vec![put_cluster("a", "a"), put_endpoints("a", "10.0.0.1:1")];
    builder.apply(first);
    builder.apply(vec![put_listener("l", 80, "r"), put_routes("r", "a")]);
    // Its server knows that the routes are here, and sends them to nobody again.
    let applied = builder.apply(vec![remove(Kind::Listener, "l"), put_listener("m", 80, "r")]);
    assert_eq!((wanted(&applied).len(), unwanted(&applied).len()), (0, 0));
    let after = applied.snapshot.expect("live");
    assert_eq!(after.listeners()[0].config.name.as_str(), "m");
    assert!(table(&http(&after), &after).find(&crate::route::tests::get("/")).is_some());
    builder.apply(vec![put_listener("l", 81, "q"), put_routes("q", "a")]);
    let applied = builder.apply(vec![put_listener("m", 80, "q"), put_listener("n", 82, "r")]);
    assert_eq!((wanted(&applied).len(), unwanted(&applied).len()), (0, 0));
    assert_eq!(applied.snapshot.expect("live").listeners().len(), 3);
}

#[test]
fn old_connections_take_new_routes_and_the_listener_stays_as_it_is() {
    let mut builder = Builder::default();
    let first =
        vec![put_cluster("a", "a"), put_endpoints("a", "10.0.0.1:1"), put_listener("l", 80, "r"), put_routes("r", "a")];
    let before = builder.apply(first).snapshot.expect("live");
    // The new routes wait for their cluster; the old ones stay.
    let applied = builder.apply(vec![put_routes("r", "b")]);
    assert!(applied.snapshot.is_none());
    let added = vec![put_cluster("b", "b"), put_endpoints("b", "10.0.0.2:1")];
    let after = builder.apply(added).snapshot.expect("live");
    assert!(Arc::ptr_eq(&before.listeners()[0], &after.listeners()[0]));
    let chain = http(&before);
    assert!(!std::ptr::eq(table(&chain, &before), table(&chain, &after)));
    // And a listener that is gone leaves its connections the routes they had.
    let gone = builder.apply(vec![remove(Kind::Listener, "l")]);
    assert_eq!(unwanted(&gone), ["RDS r"]);
    assert!(table(&chain, &gone.snapshot.expect("changed")).find(&crate::route::tests::get("/")).is_some());
}

#[test]
fn a_listener_that_never_gets_its_routes_answers_without() {
    let mut builder = Builder::default();
    builder.apply(vec![put_listener("l", 80, "r")]);
    let snapshot = builder.apply(vec![Change::GiveUp(need(Kind::Route, "r"))]).snapshot.expect("live");
    assert!(table(&http(&snapshot), &snapshot).find(&crate::route::tests::get("/")).is_none());
    builder.apply(vec![put_routes("r", "c")]);
    let late = builder.apply(vec![Change::GiveUp(need(Kind::Cluster, "c"))]).snapshot.expect("live");
    assert!(table(&http(&late), &late).find(&crate::route::tests::get("/")).is_some());
}

#[test]
fn a_bad_listener_leaves_what_was_live_under_its_name() {
    let mut builder = Builder::default();
    let changes = vec![put_listener("l", 80, "r"), put_listener("m", 81, "r"), Change::GiveUp(need(Kind::Route, "r"))];
    builder.apply(changes);
    let applied = builder.apply(vec![put_listener("m", 80, "r")]);
    assert!(applied.snapshot.is_none());
    let rejected: Vec<_> = applied.rejected.iter().map(ToString::to_string).collect();
    assert_eq!(rejected, ["listener m: 10.0.0.1:80 is taken by listener l"]);
    assert_eq!(builder.snapshot().listeners()[1].config.address.port(), 81);
    // An address is free again as soon as who had it goes.
    let applied = builder.apply(vec![put_listener("m", 80, "r"), remove(Kind::Listener, "l")]);
    let snapshot = applied.snapshot.expect("live");
    let found = snapshot.listener_for(Direction::Outbound, "10.0.0.1:80".parse().expect("an address"));
    assert_eq!(found.map(|live| live.config.name.as_str()), Some("m"));
    assert!(applied.rejected.is_empty() && snapshot.listener(&"l".into()).is_none());
}

#[test]
fn what_goes_takes_its_subscriptions_along_and_may_come_back() {
    let mut builder = Builder::default();
    builder.apply(vec![put_cluster("c", "s"), put_endpoints("s", "10.0.0.9:1")]);
    let applied = builder.apply(vec![remove(Kind::Cluster, "c")]);
    assert_eq!(unwanted(&applied), ["EDS s"]);
    assert_eq!(applied.snapshot.expect("changed").clusters().count(), 0);
    let applied = builder.apply(vec![put_cluster("c", "s")]);
    assert_eq!(wanted(&applied), ["EDS s"]);
    assert!(applied.snapshot.is_none(), "its endpoints have to come again");
    // Gone and back within one push: nothing to be asked for anew.
    let applied = builder.apply(vec![put_cluster("d", "s"), remove(Kind::Cluster, "c")]);
    assert!(applied.wanted.is_empty() && applied.unwanted.is_empty());
    assert_eq!(waiting(&builder), ["CDS d for EDS s"]);
}

#[test]
fn a_tcp_proxy_and_routes_in_a_listener_wait_for_clusters_too() {
    let mut builder = Builder::default();
    let tcp = super::listener("tcp", "10.0.0.1:80", "c", false);
    assert!(matches!(&tcp.chains[0].filter, NetworkFilter::Tcp(_)));
    assert!(builder.apply(vec![Change::Put(Resource::Listener(tcp))]).snapshot.is_none());
    assert_eq!(waiting(&builder), ["LDS tcp for CDS c"]);
    assert!(builder.apply(vec![put_cluster("c", "s"), put_endpoints("s", "10.0.0.9:1")]).snapshot.is_some());
    assert!(waiting(&builder).is_empty());
    assert!(matches!(http_source(&put_listener("x", 1, "r")), Some(RouteSource::Discovered(_))));
}

fn http_source(change: &Change) -> Option<RouteSource> {
    let Change::Put(Resource::Listener(listener)) = change else { return None };
    match &listener.chains[0].filter {
        NetworkFilter::Http(http) => Some(http.routes.clone()),
        NetworkFilter::Tcp(_) => None,
    }
}

#[test]
fn an_update_of_endpoints_copies_as_much_of_ten_thousand_clusters_as_of_a_hundred() {
    let copied = |count: usize| {
        let mut builder = Builder::default();
        let names: Vec<_> = (0..count).map(|index| format!("c{index}")).collect();
        let put = names.iter().flat_map(|name| [put_cluster(name, name), put_endpoints(name, "10.0.0.1:1")]);
        let before = builder.apply(put.collect()).snapshot.expect("live");
        assert_eq!(before.clusters().count(), count);
        let after = builder.apply(vec![put_endpoints("c50", "10.0.0.2:1")]).snapshot.expect("live");
        let pairs = before.clusters().zip(after.clusters());
        assert_eq!(pairs.filter(|(before, after)| !Arc::ptr_eq(before, after)).count(), 1);
        after.clusters.copied_since(&before.clusters)
    };
    assert_eq!((copied(100), copied(10_000)), (16, 16));
}

#[test]
fn chains_that_no_listener_has_any_longer_are_told_and_others_stay_the_same() {
    let mut builder = Builder::default();
    let routes = [put_routes("one", "c"), put_routes("two", "c")];
    let cluster = [put_cluster("c", "s"), put_endpoints("s", "10.0.0.9:1")];
    builder.apply(cluster.into_iter().chain([put_listener("l", 80, "one"), put_listener("m", 81, "two")]).collect());
    let before = http(&builder.apply(routes.into()).snapshot.expect("live"));
    // Another direction, the same chain.
    let Change::Put(Resource::Listener(config)) = put_listener("l", 80, "one") else { panic!("a listener") };
    let inbound = Listener { direction: Direction::Inbound, ..(*config).clone() };
    let applied = builder.apply(vec![Change::Put(Resource::Listener(Arc::new(inbound)))]);
    assert!(applied.superseded.is_empty());
    assert!(Arc::ptr_eq(&before, &http(&applied.snapshot.expect("live"))));
    // Other routes; then another address; then nothing.
    for change in [put_listener("l", 80, "two"), put_listener("l", 82, "two"), remove(Kind::Listener, "l")] {
        let had = http(&builder.snapshot());
        let applied = builder.apply(vec![change]);
        assert!(matches!(applied.superseded.as_slice(), [gone] if Arc::ptr_eq(gone, &had)), "{applied:?}");
    }
}
