//! On demand: what is asked for when, and what whoever needs it sees meanwhile.

use super::warming::{
    http, need, put_cluster, put_endpoints, put_listener, put_routes, read, remove, source, unwanted, wanted,
};
use super::{cluster, endpoint};
use crate::model::cluster::Discovery;
use crate::model::endpoint::Roster;
use crate::model::resource::{Resource, ResourceKind as Kind};
use crate::route::tests::get;
use crate::snapshot::{Applied, Builder, Change, Clock, Cold, Snapshot};

fn builder() -> (Builder, Clock) {
    let clock = Clock::default();
    (Builder::default().on_demand(source(), clock.clone()), clock)
}

pub(super) fn on_demand() -> Builder {
    builder().0
}

fn demand(kind: Kind, name: &str) -> Vec<Change> {
    vec![Change::Demand(need(kind, name))]
}

fn live(applied: Applied) -> Snapshot {
    applied.snapshot.expect("something changed")
}

/// The cold routes of the one listener.
fn cold_routes(snapshot: &Snapshot) -> Option<Cold> {
    http(snapshot).table(snapshot, &get("/")).err()
}

/// A listener with routes `r` to cluster `c`, of which the routes are there.
fn with_routes() -> (Builder, Clock, Snapshot) {
    let (mut builder, clock) = builder();
    builder.apply(vec![put_listener("l", 80, "r")]);
    builder.apply(demand(Kind::Route, "r"));
    let snapshot = live(builder.apply(vec![put_routes("r", "c")]));
    (builder, clock, snapshot)
}

fn cold_cluster(builder: &Builder, snapshot: &Snapshot) -> Option<Cold> {
    let route = get("/");
    let chain = http(snapshot);
    let found = chain.table(snapshot, &get("/")).expect("routes").find(&route).expect("a route");
    let crate::route::Outcome::Forward { clusters, .. } = &found.outcome else { panic!("to a cluster") };
    let cold = Cold::Cluster(clusters.pick(0));
    assert_eq!(builder.name_of(&cold), Some(need(Kind::Cluster, "c")));
    snapshot.is_cold(&cold).then_some(cold)
}

#[test]
fn a_listener_goes_live_without_its_routes_and_they_without_their_clusters() {
    let (mut builder, _) = builder();
    let applied = builder.apply(vec![put_listener("l", 80, "r")]);
    assert!(wanted(&applied).is_empty());
    let snapshot = live(applied);
    let cold = cold_routes(&snapshot).expect("cold");
    assert_eq!(builder.name_of(&cold), Some(need(Kind::Route, "r")));
    let asked = builder.apply(demand(Kind::Route, "r"));
    assert_eq!((wanted(&asked), asked.snapshot.is_none()), (vec!["RDS r".to_owned()], true));
    assert!(wanted(&builder.apply(demand(Kind::Route, "r"))).is_empty(), "once");
    let snapshot = live(builder.apply(vec![put_routes("r", "c")]));
    assert_eq!(cold_routes(&snapshot), None);
    assert!(cold_cluster(&builder, &snapshot).is_some());
    assert!(builder.waiting().next().is_none());
}

#[test]
fn a_cluster_is_asked_for_with_its_endpoints() {
    let (mut builder, _, _) = with_routes();
    let asked = builder.apply(demand(Kind::Cluster, "c"));
    assert_eq!(wanted(&asked), ["CDS c", "EDS c"]);
    // In whichever order they come.
    assert!(builder.apply(vec![put_endpoints("c", "10.0.0.9:1")]).snapshot.is_none());
    let applied = builder.apply(vec![put_cluster("c", "c")]);
    assert!(wanted(&applied).is_empty() && unwanted(&applied).is_empty());
    assert_eq!(cold_cluster(&builder, &live(applied)), None);
}

#[test]
fn endpoints_of_another_name_or_of_none_are_not_kept() {
    let (mut builder, _, _) = with_routes();
    builder.apply(demand(Kind::Cluster, "c"));
    let applied = builder.apply(vec![put_cluster("c", "other")]);
    assert_eq!((wanted(&applied), unwanted(&applied)), (vec!["EDS other".to_owned()], vec!["EDS c".to_owned()]));

    let (mut builder, _, _) = with_routes();
    builder.apply(demand(Kind::Cluster, "c"));
    let roster = Roster { endpoints: vec![endpoint("10.0.0.1:1")], ..Roster::default() };
    let applied = builder.apply(vec![Change::Put(Resource::Cluster(cluster("c", Discovery::Static(roster))))]);
    assert_eq!(unwanted(&applied), ["EDS c"]);
    assert_eq!(cold_cluster(&builder, &live(applied)), None);
}

#[test]
fn a_cluster_does_not_wait_for_endpoints_that_were_said_not_to_exist_before_it_came() {
    let (mut builder, _, _) = with_routes();
    builder.apply(demand(Kind::Cluster, "c"));
    assert!(builder.apply(vec![remove(Kind::Endpoints, "c")]).snapshot.is_none());
    assert_eq!(live(builder.apply(vec![put_cluster("c", "c")])).clusters().count(), 1);
    let came = live(builder.apply(vec![put_endpoints("c", "10.0.0.9:1")]));
    assert_eq!(came.clusters().next().map(|it| it.endpoints.endpoints.len()), Some(1));
}

#[test]
fn a_cluster_of_names_is_there_when_they_are_looked_up() {
    let (mut builder, _, _) = with_routes();
    builder.apply(demand(Kind::Cluster, "c"));
    let applied = builder.apply(vec![Change::Put(Resource::Cluster(super::dns("c")))]);
    assert_eq!((unwanted(&applied), applied.snapshot.is_none()), (vec!["EDS c".to_owned()], true));
    assert!(builder.waits_for_names(&"c".into()));
    let roster = Roster { endpoints: vec![endpoint("10.0.0.1:1")], ..Roster::default() };
    let found = std::sync::Arc::new(crate::snapshot::EndpointSet::new(roster, &super::dns("c")));
    let came = live(builder.apply(vec![Change::Resolved("c".into(), found)]));
    assert_eq!((came.clusters().count(), cold_cluster(&builder, &came)), (1, None));
    // The same cluster as it was read from the file is live at once, as ever.
    let first = live(Builder::default().apply(vec![Change::Put(Resource::Cluster(super::dns("c")))]));
    assert_eq!(first.clusters().count(), 1);
}

#[test]
fn what_is_not_to_be_had_is_not_cold_and_is_used_if_it_comes() {
    let gone = [
        Change::GiveUp(need(Kind::Cluster, "c")),
        Change::Refused(need(Kind::Cluster, "c")),
        remove(Kind::Cluster, "c"),
    ];
    for gone in gone {
        let (mut builder, _, _) = with_routes();
        builder.apply(demand(Kind::Cluster, "c"));
        let applied = builder.apply(vec![gone]);
        // The cluster stays wanted; what was only a guess does not.
        assert_eq!(unwanted(&applied), ["EDS c"]);
        assert_eq!(cold_cluster(&builder, &live(applied)), None);
        let came = builder.apply(vec![put_cluster("c", "c"), put_endpoints("c", "10.0.0.9:1")]);
        assert_eq!(live(came).clusters().count(), 1);
    }
}

#[test]
fn what_a_server_takes_back_is_missing_until_it_rests() {
    let (mut builder, _, _) = with_routes();
    builder.apply(demand(Kind::Cluster, "c"));
    builder.apply(vec![put_cluster("c", "c"), put_endpoints("c", "10.0.0.9:1")]);
    let snapshot = live(builder.apply(vec![remove(Kind::Cluster, "c")]));
    assert_eq!((snapshot.clusters().count(), cold_cluster(&builder, &snapshot)), (0, None));
    let rested = builder.apply(vec![Change::Rest(need(Kind::Cluster, "c"))]);
    assert_eq!(unwanted(&rested), ["CDS c"]);
    assert!(cold_cluster(&builder, &live(rested)).is_some());
}

#[test]
fn what_rests_is_cold_again_and_its_endpoints_are_let_go() {
    let (mut builder, clock, _) = with_routes();
    builder.apply(demand(Kind::Cluster, "c"));
    let snapshot = live(builder.apply(vec![put_cluster("c", "c"), put_endpoints("c", "10.0.0.9:1")]));
    clock.set(100);
    assert!(builder.demanded().all(|it| it.used.idle() == 100 && it.is_live && !it.is_pinned));
    snapshot.clusters().for_each(|cluster| cluster.touch());
    let idle: Vec<_> = builder.demanded().map(|it| (it.need.kind, it.used.idle())).collect();
    assert!(idle.contains(&(Kind::Cluster, 0)) && idle.contains(&(Kind::Route, 100)), "{idle:?}");

    let rested = builder.apply(vec![Change::Rest(need(Kind::Cluster, "c"))]);
    assert_eq!(unwanted(&rested), ["CDS c", "EDS c"]);
    let snapshot = live(rested);
    assert!(cold_cluster(&builder, &snapshot).is_some());
    let rested = builder.apply(vec![Change::Rest(need(Kind::Route, "r"))]);
    assert_eq!(unwanted(&rested), ["RDS r"]);
    assert!(cold_routes(&live(rested)).is_some());
    assert_eq!(builder.demanded().count(), 0);
    // And all of it again.
    assert_eq!(wanted(&builder.apply(demand(Kind::Route, "r"))), ["RDS r"]);
    assert_eq!(wanted(&builder.apply(demand(Kind::Cluster, "c"))), ["CDS c", "EDS c"]);
}

#[test]
fn routes_that_no_listener_uses_any_longer_are_not_asked_for() {
    let (mut builder, _, before) = with_routes();
    let gone = builder.apply(vec![remove(Kind::Listener, "l")]);
    assert_eq!(unwanted(&gone), ["RDS r"]);
    // Who came through that listener keeps its routes, and waits for none.
    assert!(http(&before).table(&live(gone), &get("/")).is_ok());
    assert!(wanted(&builder.apply(demand(Kind::Route, "r"))).is_empty());
}

#[test]
fn the_cluster_of_a_udp_listener_is_asked_for_with_it_and_stays() {
    let (mut builder, clock) = builder();
    let listener = "{ name: u, address: { socket_address: { protocol: UDP, address: 10.96.0.1, port_value: 53 } },
        bind_to_port: false,
        listener_filters: [{ name: udp, typed_config: {
        '@type': t/envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig, stat_prefix: u,
        matcher: { on_no_match: { action: { name: route, typed_config: {
        '@type': t/envoy.extensions.filters.udp.udp_proxy.v3.Route, cluster: c } } } } } }] }";
    let applied = builder.apply(vec![read(Kind::Listener, listener)]);
    assert_eq!(wanted(&applied), ["CDS c", "EDS c"]);
    assert!(applied.snapshot.is_none(), "nobody could hold a datagram");
    let applied = builder.apply(vec![put_cluster("c", "c"), put_endpoints("c", "10.0.0.9:1")]);
    assert_eq!(live(applied).udp_listeners().len(), 1);
    clock.set(1000);
    assert!(builder.demanded().all(|it| it.is_pinned));
    assert!(builder.apply(vec![Change::Rest(need(Kind::Cluster, "c"))]).snapshot.is_none());
    builder.apply(vec![remove(Kind::Listener, "u")]);
    assert_eq!(unwanted(&builder.apply(vec![Change::Rest(need(Kind::Cluster, "c"))])), ["CDS c", "EDS c"]);
}

#[test]
fn what_was_on_its_way_when_it_was_let_go_is_not_taken() {
    let (mut builder, _, _) = with_routes();
    builder.apply(vec![Change::Rest(need(Kind::Route, "r"))]);
    let applied = builder.apply(vec![put_routes("r", "d")]);
    assert!(applied.snapshot.is_none() && applied.rejected.is_empty());
    assert!(cold_routes(&builder.snapshot()).is_some());
    assert_eq!(wanted(&builder.apply(demand(Kind::Route, "r"))), ["RDS r"]);
    assert_eq!(cold_routes(&live(builder.apply(vec![put_routes("r", "d")]))), None);
}

#[test]
fn a_chain_that_no_listener_has_any_longer_finds_its_routes_as_they_were_last() {
    for (is_on_demand, other) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut builder = if is_on_demand { builder().0 } else { Builder::default() };
        let clusters = ["c", "d"].map(|name| [put_cluster(name, name), put_endpoints(name, "10.0.0.9:1")]);
        builder.apply(clusters.into_iter().flatten().chain([put_listener("l", 80, "r")]).collect());
        builder.apply(demand(Kind::Route, "r"));
        let chain = http(&live(builder.apply(vec![put_routes("r", "c")])));
        let before = live(builder.apply(vec![put_routes("r", "d")]));
        builder.apply(vec![if other { put_listener("l", 80, "other") } else { remove(Kind::Listener, "l") }]);
        builder.apply(demand(Kind::Route, "other"));
        builder.apply(vec![put_routes("other", "c")]);
        let (after, last) = (builder.snapshot(), chain.table(&before, &get("/")).expect("routes"));
        assert_eq!(after.routes().count(), usize::from(other), "the others are gone");
        assert!(std::ptr::eq(chain.table(&after, &get("/")).expect("routes"), last), "{is_on_demand} {other}");
    }
}
