//! Scopes that come by themselves: who waits for them, whose keys they are, and what is made anew when one changes.

use super::demand::on_demand;
use super::warming::{http, need, put_cluster, put_endpoints, put_routes, read, remove, unwanted, wanted};
use crate::model::resource::ResourceKind as Kind;
use crate::route::tests::request;
use crate::snapshot::{Applied, Builder, Change, HttpChain, Snapshot};

/// A listener whose scope is what the header `x-scope` says; `scopes` are where they are.
fn listener(port: u16, scopes: &str) -> Change {
    read(
        Kind::Listener,
        &format!(
            "{{ name: l{port}, address: {{ socket_address: {{ address: 10.0.0.1, port_value: {port} }} }},
            filter_chains: [{{ filters: [{{ name: http, typed_config: {{
            '@type': t/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
            stat_prefix: x, scoped_routes: {{ name: s, rds_config_source: {{ ads: {{}} }}, {scopes},
            scope_key_builder: {{ fragments: [{{ header_value_extractor: {{ name: x-scope, index: 0 }} }}] }} }},
            http_filters: [{{ name: r, typed_config: {{ '@type': t/envoy.extensions.filters.http.router.v3.Router }} }}]
            }} }}] }}] }}"
        ),
    )
}

const DISCOVERED: &str = "scoped_rds: { scoped_rds_config_source: { ads: {} } }";

fn written(name: &str, routes: &str, key: &str) -> String {
    format!("{{ name: {name}, route_configuration_name: {routes}, key: {{ fragments: [{{ string_key: {key} }}] }} }}")
}

fn scope(name: &str, routes: &str, key: &str) -> Change {
    read(Kind::ScopedRoute, &written(name, routes, key))
}

/// The name of the routes of a request in a scope; empty if it is in none.
fn routes(chain: &HttpChain, snapshot: &Snapshot, scope: &str) -> String {
    let request = request(&format!("GET / host x-scope: {scope}"));
    chain.table(snapshot, &request).expect("nothing is cold").config.name.to_string()
}

fn all(snapshot: &Snapshot) -> String {
    ["a", "b", "c"].map(|scope| routes(&http(snapshot), snapshot, scope)).join(" ")
}

fn refused(applied: &Applied) -> Vec<&str> {
    applied.rejected.iter().map(|rejected| rejected.resource().1).collect()
}

/// With two scopes, live.
fn live() -> (Builder, Snapshot) {
    let mut builder = Builder::default();
    let applied =
        builder.apply(vec![listener(80, DISCOVERED), put_cluster("k", "k"), put_endpoints("k", "10.0.0.9:1")]);
    assert_eq!(wanted(&applied), ["EDS k", "SRDS *"]);
    assert!(builder.snapshot().listeners().is_empty(), "it waits for scopes");
    let applied = builder.apply(vec![scope("one", "r1", "a"), scope("two", "r2", "b"), Change::HeardScopes]);
    assert_eq!(wanted(&applied), ["RDS r1", "RDS r2"]);
    assert!(builder.apply(vec![put_routes("r1", "k")]).snapshot.expect("a scope").listeners().is_empty());
    let snapshot = builder.apply(vec![put_routes("r2", "k")]).snapshot.expect("live");
    assert_eq!(all(&snapshot), "r1 r2 ");
    (builder, snapshot)
}

#[test]
fn scopes_come_before_their_routes_and_go_with_them() {
    let (mut builder, before) = live();
    // Other routes: those that were live stay until they are there.
    let applied = builder.apply(vec![scope("one", "r3", "a"), scope("three", "r4", "c")]);
    assert!(applied.snapshot.is_none());
    assert_eq!((wanted(&applied), unwanted(&applied)), (vec!["RDS r3".into(), "RDS r4".into()], vec![]));
    let applied = builder.apply(vec![put_routes("r3", "k")]);
    assert_eq!((unwanted(&applied), applied.clusters.as_deref()), (vec!["RDS r1".into()], Some(&[][..])));
    let after = applied.snapshot.expect("changed");
    assert!(before.listener_set() == after.listener_set());
    assert_eq!((all(&before), all(&after)), ("r1 r2 ".into(), "r3 r2 ".into()), "a request sees one snapshot");
    // What does not come is done without: no route.
    let given_up = builder.apply(vec![Change::GiveUp(need(Kind::Route, "r4"))]).snapshot.expect("changed");
    assert_eq!(all(&given_up), "r3 r2 ");
    let applied = builder.apply(vec![remove(Kind::ScopedRoute, "two"), put_routes("r4", "k")]);
    assert_eq!(unwanted(&applied), ["RDS r2"]);
    assert_eq!(all(&applied.snapshot.expect("changed")), "r3  r4");
}

#[test]
fn no_two_scopes_have_one_key_and_the_last_good_one_stays() {
    let (mut builder, _) = live();
    let applied = builder.apply(vec![scope("three", "r1", "a")]);
    assert!(applied.snapshot.is_none());
    assert_eq!(
        applied.rejected[0].to_string(),
        "scope key conflict found, first scope is 'one', second scope is 'three'"
    );
    // An update of one that is there, to a key that another has.
    let applied = builder.apply(vec![scope("two", "r2", "a")]);
    assert_eq!((refused(&applied), all(&builder.snapshot())), (vec!["two"], "r1 r2 ".into()));
    // Keys change hands within an update.
    let applied = builder.apply(vec![scope("one", "r1", "b"), scope("two", "r2", "a")]);
    assert_eq!((refused(&applied), all(&builder.snapshot())), (vec![], "r2 r1 ".into()));
    let applied = builder.apply(vec![remove(Kind::ScopedRoute, "one"), scope("three", "r1", "b")]);
    assert_eq!((refused(&applied), all(&builder.snapshot())), (vec![], "r2 r1 ".into()));
    // `two` wants a key that stays `three`'s; so it keeps its own, and who wanted that is refused as well.
    let applied = builder.apply(vec![scope("two", "r2", "b"), scope("four", "r1", "a"), scope("five", "r2", "c")]);
    assert_eq!((refused(&applied), all(&builder.snapshot())), (vec!["two", "four"], "r2 r1 r2".into()));
}

#[test]
fn a_server_without_scopes_is_heard_and_one_that_says_nothing_given_up() {
    for change in [Change::HeardScopes, Change::GiveUp(need(Kind::ScopedRoute, "*"))] {
        let mut builder = Builder::default();
        assert!(builder.apply(vec![listener(80, DISCOVERED)]).snapshot.is_none());
        let snapshot = builder.apply(vec![change]).snapshot.expect("live");
        assert_eq!(all(&snapshot), "  ");
        let second = builder.apply(vec![listener(81, DISCOVERED)]).snapshot.expect("it does not wait");
        assert_eq!(second.listeners().len(), 2);
    }
    // A scope that goes while a listener waits for its routes.
    let mut builder = Builder::default();
    builder.apply(vec![listener(80, DISCOVERED)]);
    assert!(builder.apply(vec![scope("one", "r1", "a"), Change::HeardScopes]).snapshot.is_none());
    let applied = builder.apply(vec![remove(Kind::ScopedRoute, "one")]);
    assert_eq!(unwanted(&applied), ["RDS r1"]);
    assert_eq!(applied.snapshot.expect("live").listeners().len(), 1);
}

#[test]
fn scopes_in_place_are_the_listeners_own_and_connections_outlive_it() {
    let inline = |routes: &str| {
        let scopes = [written("one", routes, "a"), written("two", routes, "c")].join(", ");
        listener(80, &format!("scoped_route_configurations_list: {{ scoped_route_configurations: [{scopes}] }}"))
    };
    let mut builder = Builder::default();
    let applied = builder.apply(vec![inline("r1"), put_cluster("k", "k"), put_endpoints("k", "10.0.0.9:1")]);
    assert_eq!(wanted(&applied), ["EDS k", "RDS r1"]);
    let live = builder.apply(vec![put_routes("r1", "k")]).snapshot.expect("live");
    assert_eq!(all(&live), "r1  r1");
    builder.apply(vec![inline("r2")]);
    let applied = builder.apply(vec![put_routes("r2", "k")]);
    assert_eq!((unwanted(&applied), applied.superseded.len()), (vec!["RDS r1".into()], 1));
    let after = applied.snapshot.expect("changed");
    assert_eq!((routes(&http(&live), &after, "a"), all(&after)), ("r1".into(), "r2  r2".into()));
}

#[test]
fn connections_outlive_the_scopes_of_their_listener() {
    let (mut builder, live) = live();
    let gone = builder.apply(vec![remove(Kind::Listener, "l80")]);
    assert_eq!(gone.superseded.len(), 1);
    builder.apply(vec![remove(Kind::ScopedRoute, "one")]);
    let after = builder.snapshot();
    assert_eq!(routes(&http(&live), &after, "a"), "r1", "as it was when the listener went");
}

#[test]
fn on_demand_a_scope_does_not_wait_for_its_routes() {
    let mut builder = on_demand();
    builder.apply(vec![listener(80, DISCOVERED)]);
    let applied = builder.apply(vec![scope("one", "r1", "a"), Change::HeardScopes]);
    assert_eq!(wanted(&applied), Vec::<String>::new());
    let snapshot = applied.snapshot.expect("live");
    let cold = http(&snapshot).table(&snapshot, &request("GET / host x-scope: a")).expect_err("cold");
    assert_eq!(builder.name_of(&cold), Some(need(Kind::Route, "r1")));
    let applied = builder.apply(vec![Change::Demand(need(Kind::Route, "r1"))]);
    assert_eq!(wanted(&applied), ["RDS r1"]);
    builder.apply(vec![put_routes("r1", "k")]);
    assert_eq!(all(&builder.snapshot()), "r1  ");
}
