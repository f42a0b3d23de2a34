//! Virtual hosts that come by themselves: what is asked for, what is live, and what becomes of those that are not there.

use std::time::{Duration, Instant};

use super::warming::{http, need, put_cluster, put_endpoints, read, remove, unwanted, wanted};
use crate::model::resource::{Resource, ResourceKind as Kind};
use crate::route::tests::request;
use crate::snapshot::{Applied, Builder, Change, Snapshot};

fn listener() -> Change {
    read(
        Kind::Listener,
        "{ name: l, address: { socket_address: { address: 10.0.0.1, port_value: 80 } },
        filter_chains: [{ filters: [{ name: http, typed_config: {
        '@type': t/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
        stat_prefix: x, rds: { route_config_name: r, config_source: { ads: {} } }, http_filters: [
        { name: d, typed_config: { '@type': t/envoy.extensions.filters.http.on_demand.v3.OnDemand } },
        { name: r, typed_config: { '@type': t/envoy.extensions.filters.http.router.v3.Router } }] } }] }] }",
    )
}

/// Routes to `k` for the host `fixed`; others are discovered.
fn routes(more: &str) -> Change {
    read(Kind::Route, &format!("{{ name: r, virtual_hosts: [{}], {more} }}", host_text("[fixed]", "k")))
}

const DISCOVERS: &str = "vhds: { config_source: { ads: {} } }";

fn host_text(domains: &str, cluster: &str) -> String {
    format!(
        "{{ name: v, domains: {domains}, routes: [{{ match: {{ prefix: / }}, route: {{ cluster: {cluster} }} }}] }}"
    )
}

fn host(name: &str, domains: &str, cluster: &str) -> Change {
    match read(Kind::VirtualHost, &host_text(domains, cluster)) {
        Change::Put(Resource::VirtualHost(host)) => Change::PutHost(name.into(), host),
        other => panic!("{other:?}"),
    }
}

fn demand(name: &str) -> Change {
    Change::Demand(need(Kind::VirtualHost, name))
}

/// What a request for a host finds: `there`, `none`, or the name of what has to be asked for.
fn finds(builder: &Builder, snapshot: &Snapshot, host: &str) -> String {
    let (chain, request) = (http(snapshot), request(&format!("GET / {host}")));
    match chain.table(snapshot, &request) {
        Ok(table) => if table.find(&request).is_some() { "there" } else { "none" }.to_owned(),
        Err(cold) => builder.name_of(&cold).expect("a name").name.to_string(),
    }
}

fn live() -> Builder {
    let mut builder = Builder::default();
    builder.apply(vec![listener(), routes(DISCOVERS), put_cluster("k", "k"), put_endpoints("k", "10.0.0.9:1")]);
    builder
}

fn next(applied: Applied) -> Snapshot {
    applied.snapshot.expect("changed")
}

#[test]
fn a_host_is_asked_for_by_its_routes_and_is_compiled_with_them() {
    let mut builder = live();
    let before = builder.snapshot();
    assert_eq!(
        (finds(&builder, &before, "fixed"), finds(&builder, &before, "New:80")),
        ("there".into(), "r/new:80".into())
    );
    assert_eq!(wanted(&builder.apply(vec![demand("r/new:80"), demand("r/new:80")])), ["VHDS r/new:80"]);
    let after = next(builder.apply(vec![host("r/new:80", "['new:80']", "k")]));
    assert!(before.listener_set() == after.listener_set());
    assert_eq!((finds(&builder, &after, "NEW:80"), finds(&builder, &after, "new")), ("there".into(), "r/new".into()));
    assert!(builder.apply(vec![host("r/new:80", "['new:80']", "k")]).snapshot.is_none(), "the same again");
    // New routes keep it, unless they have all their hosts.
    let text = format!("{{ name: r, virtual_hosts: [{}], {DISCOVERS} }}", host_text("[fixed, second]", "k"));
    let newer = next(builder.apply(vec![read(Kind::Route, &text)]));
    assert_eq!(finds(&builder, &newer, "second"), "there");
    assert_eq!(finds(&builder, &newer, "new:80"), "there");
    let applied = builder.apply(vec![routes("")]);
    assert_eq!(unwanted(&applied), ["VHDS r/new:80"]);
    assert_eq!(finds(&builder, &next(applied), "new:80"), "none");
}

#[test]
fn a_host_that_is_not_there_is_known_not_to_be_until_it_comes() {
    for change in [
        remove(Kind::VirtualHost, "r/a"),
        Change::GiveUp(need(Kind::VirtualHost, "r/a")),
        Change::Refused(need(Kind::VirtualHost, "r/a")),
    ] {
        let mut builder = live();
        builder.apply(vec![demand("r/a")]);
        let gone = next(builder.apply(vec![change]));
        assert_eq!((finds(&builder, &gone, "a"), finds(&builder, &gone, "b")), ("none".into(), "r/b".into()));
        let came = next(builder.apply(vec![host("r/a", "[a]", "k")]));
        assert_eq!(finds(&builder, &came, "a"), "there");
        let gone = next(builder.apply(vec![remove(Kind::VirtualHost, "r/a")]));
        assert_eq!(finds(&builder, &gone, "a"), "none");
        // Let go, it may be asked for again.
        let applied = builder.apply(vec![Change::Rest(need(Kind::VirtualHost, "r/a"))]);
        assert_eq!(unwanted(&applied), ["VHDS r/a"]);
        assert_eq!(finds(&builder, &next(applied), "a"), "r/a");
    }
}

#[test]
fn one_resource_may_be_for_several_hosts_and_goes_with_the_last() {
    let mut builder = live();
    builder.apply(vec![demand("r/a"), demand("r/b")]);
    let came = next(builder.apply(vec![host("r/both", "[a, b]", "k"), host("r/stranger", "[s]", "k")]));
    assert_eq!(["a", "b", "s"].map(|host| finds(&builder, &came, host)), ["there", "there", "r/s"]);
    let rest = |name: &str| vec![Change::Rest(need(Kind::VirtualHost, name))];
    let one = next(builder.apply(rest("r/a")));
    assert_eq!(finds(&builder, &one, "a"), "there", "it is there for the other");
    let none = next(builder.apply(rest("r/b")));
    assert_eq!(["a", "b"].map(|host| finds(&builder, &none, host)), ["r/a", "r/b"]);
    assert!(builder.apply(vec![host("r/both", "[a, b]", "k")]).snapshot.is_none(), "let go, and not live again");
}

#[test]
fn a_host_that_contradicts_its_routes_is_refused_and_the_last_good_one_stays() {
    let mut builder = live();
    builder.apply(vec![demand("r/a"), demand("r/b")]);
    builder.apply(vec![host("r/a", "[a]", "k")]);
    let applied = builder.apply(vec![host("r/a", "[fixed]", "k"), host("r/b", "[b, fixed]", "k")]);
    let refused: Vec<_> = applied.rejected.iter().map(ToString::to_string).collect();
    assert_eq!(
        refused,
        ["r/a", "r/b"].map(|name| format!("virtual host {name}: domain fixed stands in two virtual hosts"))
    );
    let snapshot = builder.snapshot();
    assert_eq!(["a", "b", "fixed"].map(|host| finds(&builder, &snapshot, host)), ["there", "none", "there"]);
}

#[test]
fn a_host_waits_for_its_clusters_and_goes_with_its_routes() {
    let mut builder = live();
    builder.apply(vec![demand("r/a")]);
    assert!(builder.apply(vec![host("r/a", "[a]", "late")]).snapshot.is_none());
    assert_eq!(builder.waiting().count(), 1);
    builder.apply(vec![put_cluster("late", "late"), put_endpoints("late", "10.0.0.8:1")]);
    let snapshot = builder.snapshot();
    assert_eq!(finds(&builder, &snapshot, "a"), "there");
    let applied = builder.apply(vec![remove(Kind::Listener, "l")]);
    assert_eq!(unwanted(&applied), ["RDS r", "VHDS r/a"]);
}

#[test]
fn what_clients_ask_for_is_bounded_and_what_is_not_there_makes_room() {
    let mut builder = live();
    builder.apply((0..4096).map(|index| demand(&format!("r/h{index}"))).collect());
    assert_eq!(wanted(&builder.apply(vec![demand("r/more")])), Vec::<String>::new());
    builder.apply(vec![remove(Kind::VirtualHost, "r/h7")]);
    let applied = builder.apply(vec![demand("r/more")]);
    assert_eq!((wanted(&applied), unwanted(&applied)), (vec!["VHDS r/more".into()], vec!["VHDS r/h7".into()]));
    assert_eq!(finds(&builder, &builder.snapshot(), "h7"), "r/h7", "to be asked for again");
}

#[test]
fn who_outlives_the_routes_has_nobody_to_ask() {
    let mut builder = live();
    let before = builder.snapshot();
    let gone = next(builder.apply(vec![remove(Kind::Listener, "l")]));
    for (host, is_there) in [("fixed", true), ("nope", false)] {
        let request = request(&format!("GET / {host}"));
        let chain = http(&before);
        let table = chain.table(&gone, &request).expect("nothing to wait for: no snapshot would ever have it");
        assert_eq!(table.find(&request).is_some(), is_there, "{host}");
    }
}

#[test]
fn what_is_no_hosts_name_is_not_asked_for() {
    let builder = live();
    let snapshot = builder.snapshot();
    let longest = format!("{}:65535", "h".repeat(255));
    for host in ["[fd00::1]:80", "a_b-c.example", &longest] {
        assert_eq!(finds(&builder, &snapshot, host), format!("r/{host}"));
    }
    let longer = format!("h{longest}");
    let longest_by_far = "h".repeat(60 << 10);
    for host in [&*longer, &longest_by_far, "a/b", "a*", "a%00", "a@b", "\u{e9}"] {
        assert_eq!(finds(&builder, &snapshot, host), "none", "{} bytes", host.len());
    }
}

#[test]
fn many_hosts_that_come_and_go_at_once_are_no_more_work_than_each_by_itself() {
    let begun = Instant::now();
    let mut builder = live();
    let names: Vec<_> = (0..2000).map(|index| format!("r/h{index}")).collect();
    builder.apply(names.iter().map(|name| demand(name)).collect());
    let came = names.iter().map(|name| host(name, &format!("[{}]", &name[2..]), "k")).collect();
    let came = next(builder.apply(came));
    assert_eq!(["h0", "h1999"].map(|host| finds(&builder, &came, host)), ["there", "there"]);
    builder.apply(names[..500].iter().map(|name| Change::GiveUp(need(Kind::VirtualHost, name))).collect());
    builder.apply(names[..500].iter().map(|name| remove(Kind::VirtualHost, name)).collect());
    let rest = names.iter().map(|name| Change::Rest(need(Kind::VirtualHost, name))).collect();
    let gone = next(builder.apply(rest));
    assert_eq!(["h0", "h1999"].map(|host| finds(&builder, &gone, host)), ["r/h0", "r/h1999"]);
    // Generous: compiling all of them for each takes minutes.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_host_that_came_late_makes_no_room() {
    let mut builder = live();
    builder.apply((0..4096).map(|index| demand(&format!("r/h{index}"))).collect());
    builder.apply(vec![remove(Kind::VirtualHost, "r/h7"), remove(Kind::VirtualHost, "r/h8")]);
    let late = host("r/h7", "[h7]", "k");
    builder.apply(vec![late, host("r/h8", "[h8]", "k")]);
    // Refused now, and there as it was.
    assert_eq!(builder.apply(vec![host("r/h8", "[fixed]", "k")]).rejected.len(), 1);
    let applied = builder.apply(vec![demand("r/more")]);
    assert_eq!((wanted(&applied), unwanted(&applied)), (vec![], vec![]));
    assert_eq!(["h7", "h8"].map(|host| finds(&builder, &builder.snapshot(), host)), ["there", "there"]);
}
