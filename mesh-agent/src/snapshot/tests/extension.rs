//! Filters that come by themselves: who waits for one, and what is made anew when one changes.

use std::sync::Arc;

use super::warming::{
    http, need, put_cluster, put_endpoints, put_listener, put_routes, read, remove, unwanted, wanted,
};
use crate::model::authz::Action;
use crate::model::extension::Router;
use crate::model::resource::ResourceKind as Kind;
use crate::snapshot::{Builder, Change, Rejected, Snapshot};

const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";
const RBAC: &str = "envoy.extensions.filters.network.rbac.v3.RBAC";

/// A listener with rules that come as `rules`, and a router that comes as `router`; `more` belongs to the router's source.
fn listener(name: &str, port: u16, rules: &str, router: &str, more: &str) -> Change {
    let discovery = |name: &str, kind: &str, more: &str| {
        format!(
            "{{ name: {name}, config_discovery: {{ config_source: {{ ads: {{}} }}, type_urls: [t/{kind}], {more} }} }}"
        )
    };
    read(
        Kind::Listener,
        &format!(
            "{{ name: {name}, address: {{ socket_address: {{ address: 10.0.0.1, port_value: {port} }} }},
            filter_chains: [{{ filters: [{}, {{ name: http, typed_config: {{
            '@type': t/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
            stat_prefix: x, route_config: {{}}, http_filters: [{}] }} }}] }}] }}",
            discovery(rules, RBAC, ""),
            discovery(router, ROUTER, more)
        ),
    )
}

fn rules(name: &str, action: &str) -> Change {
    let text = format!(
        "{{ name: {name}, typed_config: {{ '@type': t/{RBAC}, stat_prefix: x, rules: {{ action: {action},
        policies: {{ p: {{ permissions: [{{ any: true }}], principals: [{{ any: true }}] }} }} }} }} }}"
    );
    read(Kind::Extension, &text)
}

fn router(name: &str, quiet: bool) -> Change {
    let text = format!("{{ name: {name}, typed_config: {{ '@type': t/{ROUTER}, suppress_envoy_headers: {quiet} }} }}");
    read(Kind::Extension, &text)
}

fn quiet(snapshot: &Snapshot) -> Option<bool> {
    http(snapshot).router(snapshot).map(|Router { suppress_envoy_headers }| suppress_envoy_headers)
}

fn action(snapshot: &Snapshot, listener: usize) -> (Action, usize) {
    let rules = &snapshot.listeners()[listener].chains[0].authorization[0];
    (rules.action, rules.policies.len())
}

#[test]
fn a_listener_waits_for_its_filters_and_a_change_of_one_touches_nothing_else() {
    let mut builder = Builder::default();
    let applied = builder.apply(vec![listener("l", 80, "who", "how", ""), put_listener("m", 81, "r")]);
    assert!(applied.snapshot.is_none());
    assert_eq!(wanted(&applied), ["ECDS how", "ECDS who", "RDS r"]);
    assert!(builder.apply(vec![router("how", true)]).snapshot.expect("it is there").listeners().is_empty());
    let all = vec![rules("who", "DENY"), put_routes("r", "c"), put_cluster("c", "s"), put_endpoints("s", "10.0.0.9:1")];
    let before = builder.apply(all).snapshot.expect("live");
    assert_eq!((quiet(&before), action(&before, 0)), (Some(true), (Action::Deny, 1)));

    // The router: no listener is another.
    let applied = builder.apply(vec![router("how", false)]);
    assert_eq!(applied.clusters, Some(vec![]));
    let after = applied.snapshot.expect("changed");
    assert!(before.listener_set() == after.listener_set());
    assert_eq!((quiet(&before), quiet(&after)), (Some(true), Some(false)), "a request sees one snapshot");

    // Rules: the listener that has them is another, with the chain that it had.
    let applied = builder.apply(vec![rules("who", "ALLOW")]);
    assert!(applied.superseded.is_empty());
    let later = applied.snapshot.expect("changed");
    assert_eq!((action(&after, 0), action(&later, 0)), ((Action::Deny, 1), (Action::Allow, 1)));
    assert!(Arc::ptr_eq(&http(&after), &http(&later)));
    assert!(Arc::ptr_eq(&after.listeners()[1], &later.listeners()[1]));
    assert!(builder.apply(vec![rules("who", "ALLOW")]).snapshot.is_none(), "the same again");
}

#[test]
fn without_one_the_default_stands_in_and_without_that_nobody_goes_on() {
    let default = format!("default_config: {{ '@type': t/{ROUTER} }}");
    for (more, router_now) in [("", None), (default.as_str(), Some(false))] {
        let mut builder = Builder::default();
        builder.apply(vec![listener("l", 80, "who", "how", more)]);
        builder.apply(vec![Change::GiveUp(need(Kind::Extension, "who"))]);
        let given_up =
            builder.apply(vec![Change::GiveUp(need(Kind::Extension, "how"))]).snapshot.expect("live without");
        assert_eq!((quiet(&given_up), action(&given_up, 0)), (router_now, (Action::Allow, 0)));
        // They come after all, and go again.
        let there = builder.apply(vec![router("how", true), rules("who", "DENY")]).snapshot.expect("changed");
        assert_eq!((quiet(&there), action(&there, 0)), (Some(true), (Action::Deny, 1)));
        let gone = vec![remove(Kind::Extension, "how"), remove(Kind::Extension, "who")];
        let gone = builder.apply(gone).snapshot.expect("changed");
        assert_eq!((quiet(&gone), action(&gone, 0)), (router_now, (Action::Allow, 0)));
        // Who comes then does not wait.
        let second = builder.apply(vec![listener("m", 81, "who", "how", more)]).snapshot.expect("live");
        assert_eq!(second.listeners().len(), 2);
    }
}

#[test]
fn what_a_place_has_by_default_is_not_waited_for_if_it_says_so() {
    let more = format!("default_config: {{ '@type': t/{ROUTER} }}, apply_default_config_without_warming: true");
    let mut builder = Builder::default();
    let applied = builder.apply(vec![listener("l", 80, "who", "how", &more), rules("who", "ALLOW")]);
    assert_eq!(wanted(&applied), ["ECDS how", "ECDS who"]);
    assert_eq!(quiet(&applied.snapshot.expect("live")), Some(false));
}

#[test]
fn a_type_that_does_not_fit_is_refused_and_the_last_good_one_stays() {
    let mut builder = Builder::default();
    builder.apply(vec![listener("l", 80, "who", "how", ""), router("how", true), rules("who", "ALLOW")]);
    let applied = builder.apply(vec![rules("how", "ALLOW"), router("who", true)]);
    assert!(applied.snapshot.is_none());
    let refused: Vec<_> = applied.rejected.iter().map(Rejected::resource).collect();
    assert_eq!(refused, [(Kind::Extension, "how"), (Kind::Extension, "who")]);
    assert_eq!(
        applied.rejected[0].to_string(),
        format!("extension how: {RBAC} does not fit in listener l, which takes {ROUTER}")
    );
}

#[test]
fn two_listeners_share_one_and_connections_outlive_both() {
    let mut builder = Builder::default();
    let both = vec![listener("l", 80, "who", "how", ""), listener("m", 81, "who", "how", "")];
    assert_eq!(wanted(&builder.apply(both)), ["ECDS how", "ECDS who"]);
    let live = builder.apply(vec![router("how", true), rules("who", "DENY")]).snapshot.expect("live");
    let changed = builder.apply(vec![rules("who", "ALLOW")]).snapshot.expect("changed");
    assert_eq!([0, 1].map(|index| action(&changed, index).0), [Action::Allow, Action::Allow]);
    let chain = http(&live);
    assert_eq!(unwanted(&builder.apply(vec![remove(Kind::Listener, "m")])), Vec::<String>::new());
    let applied = builder.apply(vec![remove(Kind::Listener, "l")]);
    assert_eq!(unwanted(&applied), ["ECDS how", "ECDS who"]);
    let gone = applied.snapshot.expect("changed");
    assert_eq!(chain.router(&gone).map(|router| router.suppress_envoy_headers), Some(true), "as it was last");
}

#[test]
fn one_name_does_not_stand_for_two_types() {
    let mut builder = Builder::default();
    let refused = |applied: &crate::snapshot::Applied| {
        applied.rejected.iter().map(|why| (why.resource().1.to_owned(), why.to_string())).collect::<Vec<_>>()
    };
    builder.apply(vec![listener("l", 80, "who", "x", "")]);
    let why = |name: &str, wanted: &str, other: &str| {
        let text = format!(
            "listener {name}: extension x is to be {wanted} there, and is {other} elsewhere; write another name"
        );
        vec![(name.to_owned(), text)]
    };
    // Before it has come, and after.
    let wants_rules = || vec![listener("m", 81, "x", "how", "")];
    assert_eq!(refused(&builder.apply(wants_rules())), why("m", RBAC, ROUTER));
    let live = builder.apply(vec![router("x", true), rules("who", "ALLOW")]).snapshot.expect("live");
    assert_eq!(refused(&builder.apply(wants_rules())), why("m", RBAC, ROUTER));
    // By a change of the one that has it, or in one by itself.
    assert_eq!(refused(&builder.apply(vec![listener("l", 80, "x", "how", "")])), why("l", RBAC, ROUTER));
    assert_eq!(refused(&builder.apply(vec![listener("n", 82, "y", "y", "")])).len(), 1);
    assert_eq!((builder.snapshot().listeners().len(), quiet(&live)), (1, Some(true)));
    // When the one is gone, the other may have the name.
    builder.apply(vec![remove(Kind::Listener, "l")]);
    assert_eq!(refused(&builder.apply(wants_rules())), vec![]);
}
