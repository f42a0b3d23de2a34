//! Secrets: who waits for them, and whom a new one concerns.

use std::sync::Arc;

use super::warming::read;
use crate::model::cluster::Cluster;
use crate::model::management::{FileSource, Origin};
use crate::model::resource::{Resource, ResourceKind as Kind};
use crate::snapshot::{Applied, Builder, Change, Need, Snapshot};

const AUTHORITY: &str = include_str!("../../../testdata/authority.pem");

/// A cluster that trusts whom the secret says, or nobody in particular.
fn put_cluster(name: &str, secret: Option<&str>) -> Change {
    let trust = match secret {
        None => "validation_context: { trust_chain_verification: ACCEPT_UNTRUSTED }".to_owned(),
        Some(secret) => format!(
            "validation_context_sds_secret_config: {{ name: {secret}, sds_config: {{ ads: {{}}, resource_api_version: V3 }} }}"
        ),
    };
    put_tls(name, &format!("load_assignment: {{ cluster_name: {name} }}"), &trust)
}

fn put_tls(name: &str, discovery: &str, common: &str) -> Change {
    let context = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
    read(
        Kind::Cluster,
        &format!(
            "{{ name: {name}, {discovery}, transport_socket: {{ name: tls, typed_config: {{
            '@type': t/{context}, sni: a.test, common_tls_context: {{ {common} }} }} }} }}"
        ),
    )
}

fn put_authorities(name: &str, more: &str) -> Change {
    let pem = format!("{more}{AUTHORITY}").replace('\n', "\\n");
    read(
        Kind::Secret,
        &format!("{{ name: {name}, validation_context: {{ trusted_ca: {{ inline_string: \"{pem}\" }} }} }}"),
    )
}

fn need(name: &str) -> Need {
    Need { kind: Kind::Secret, name: name.into() }
}

/// Names of live clusters, and whether there can be TLS with each.
fn live(snapshot: &Snapshot) -> Vec<(&str, bool)> {
    let ready = |tls: &Option<Arc<crate::identity::Client>>| tls.as_ref().is_some_and(|it| it.is_ready().is_ok());
    snapshot.clusters().map(|it| (it.name().as_str(), ready(&it.tls))).collect()
}

#[test]
fn a_secret_concerns_those_who_ask_for_it_and_nobody_else() {
    let mut builder = Builder::default();
    let clusters = [put_cluster("one", Some("s")), put_cluster("two", Some("other")), put_cluster("three", None)];
    let applied = builder.apply(clusters.into());
    assert_eq!(applied.wanted.iter().map(|(need, _)| need.clone()).collect::<Vec<_>>(), [need("other"), need("s")]);
    assert_eq!(live(&applied.snapshot.expect("one is live")), [("three", true)]);
    // What nobody asked for is not kept.
    assert!(builder.apply(vec![put_authorities("stranger", "")]).snapshot.is_none());
    let both = builder.apply(vec![put_authorities("s", ""), put_authorities("other", "")]).snapshot.expect("live");
    assert_eq!(live(&both), [("one", true), ("two", true), ("three", true)]);
    // The same again changes nothing; another changes one cluster.
    assert!(builder.apply(vec![put_authorities("s", "")]).snapshot.is_none());
    let applied = builder.apply(vec![put_authorities("s", "# another\\n")]);
    let next = applied.snapshot.expect("changed");
    let same = |index: usize| {
        let tls = |snapshot: &Snapshot| snapshot.clusters().nth(index).and_then(|it| it.tls.clone()).expect("TLS");
        Arc::ptr_eq(&tls(&both), &tls(&next))
    };
    assert_eq!((applied.clusters.map(|slots| slots.len()), same(0), same(1), same(2)), (Some(1), false, true, true));
    // The last who asks for it takes it along.
    let applied = builder.apply(vec![Change::Remove(Kind::Cluster, "one".into())]);
    assert_eq!(applied.unwanted, [(need("s"), Origin::Server)]);
}

#[test]
fn a_secret_that_is_given_up_is_done_without_and_used_when_it_comes() {
    let mut builder = Builder::default();
    builder.apply(vec![put_cluster("one", Some("s"))]);
    let without = builder.apply(vec![Change::GiveUp(need("s"))]).snapshot.expect("live");
    assert_eq!(live(&without), [("one", false)]);
    let Change::Put(Resource::Secret(secret)) = put_authorities("s", "") else { panic!("a secret") };
    let with = builder.apply(vec![Change::Put(Resource::Secret(secret))]).snapshot.expect("changed");
    assert_eq!(live(&with), [("one", true)]);
    // A server that takes a secret back takes nothing from who has it.
    assert!(builder.apply(vec![Change::Remove(Kind::Secret, "s".into())]).snapshot.is_none());
}

#[test]
fn secrets_that_never_come_may_be_given_up_in_any_order() {
    let sds = |name: &str| format!("{{ name: {name}, sds_config: {{ ads: {{}}, resource_api_version: V3 }} }}");
    let common = format!(
        "tls_certificate_sds_secret_configs: [{}], validation_context_sds_secret_config: {}",
        sds("default"),
        sds("ROOTCA")
    );
    let source = "eds_config: { ads: {}, resource_api_version: V3 }";
    let discoveries =
        ["load_assignment: { cluster_name: one }".to_owned(), format!("type: EDS, eds_cluster_config: {{ {source} }}")];
    let endpoints = Need { kind: Kind::Endpoints, name: "one".into() };
    for (index, discovery) in discoveries.iter().enumerate() {
        for order in [["ROOTCA", "default"], ["default", "ROOTCA"]] {
            let mut builder = Builder::default();
            builder.apply(vec![put_tls("one", discovery, &common)]);
            for name in order {
                builder.apply(vec![Change::GiveUp(need(name))]);
            }
            if index == 1 {
                assert_eq!(live(&builder.snapshot()), [], "{order:?}: it waits for endpoints yet");
                builder.apply(vec![Change::GiveUp(endpoints.clone())]);
            }
            assert_eq!(live(&builder.snapshot()), [("one", false)], "{order:?}");
        }
    }
}

#[test]
fn a_secret_of_one_name_has_one_source() {
    let mut builder = Builder::default();
    let Change::Put(Resource::Cluster(config)) = put_cluster("two", Some("s")) else { panic!("a cluster") };
    let mut elsewhere = Cluster::clone(&config);
    let source = FileSource { path: "/s.yaml".into(), watched: None };
    let secret = elsewhere.tls.as_mut().and_then(|tls| tls.trust.secret.as_mut()).expect("it asks for one");
    secret.source.origin = Origin::File(Arc::new(source));
    let elsewhere = Change::Put(Resource::Cluster(Arc::new(elsewhere)));
    let applied = builder.apply(vec![put_cluster("one", Some("s")), elsewhere.clone()]);
    let rejected: Vec<_> = applied.rejected.iter().map(ToString::to_string).collect();
    assert_eq!(rejected, ["cluster two: secret \"s\" comes from another source already, for another cluster"]);
    // When the other is gone it is asked for there.
    builder.apply(vec![Change::Remove(Kind::Cluster, "one".into())]);
    assert_eq!(builder.apply(vec![elsewhere]).wanted.len(), 1);
}

#[test]
fn a_secret_and_who_asks_for_it_fit_together_whichever_comes_first() {
    let sds = |what: &str| format!("{what}: {{ name: s, sds_config: {{ ads: {{}}, resource_api_version: V3 }} }}");
    let combined = |here: &str| {
        let secret = sds("validation_context_sds_secret_config");
        format!("combined_validation_context: {{ default_validation_context: {{ {here} }}, {secret} }}")
    };
    let put = |common: &str| put_tls("one", "load_assignment: { cluster_name: one }", common);
    let anybody = "trust_chain_verification: ACCEPT_UNTRUSTED";
    let names = "match_typed_subject_alt_names: [{ san_type: URI, matcher: { exact: x } }]";
    let put_anybody = read(Kind::Secret, &format!("{{ name: s, validation_context: {{ {anybody} }} }}"));
    let certificate = sds("tls_certificate_sds_secret_configs").replace("configs: {", "configs: [{") + "]";
    let certificate = format!("{certificate}, validation_context: {{ {anybody} }}");
    let cases = [
        (put(&combined(anybody)), put_authorities("s", ""), "says otherwise"),
        (put(&combined(names)), put_anybody, "says otherwise"),
        (put(&certificate), put_authorities("s", ""), "asks for it as tls_certificate"),
    ];
    for (cluster, secret, why) in cases {
        let told = |applied: &Applied| applied.rejected.iter().map(ToString::to_string).collect::<String>();
        let mut builder = Builder::default();
        builder.apply(vec![cluster.clone()]);
        let said = told(&builder.apply(vec![secret.clone()]));
        assert!(said.starts_with(&format!("secret \"s\": cluster \"one\" {why}")), "{said}");
        assert_eq!(live(&builder.snapshot()), []);
        // The other way round: another cluster has it already, and this one as it was before goes on.
        let mut builder = Builder::default();
        builder.apply(vec![put_cluster("other", Some("s")), put_cluster("one", None), secret]);
        assert_eq!(live(&builder.snapshot()), [("other", true), ("one", true)]);
        let applied = builder.apply(vec![cluster]);
        let said = told(&applied);
        assert!(said.starts_with(&format!("cluster one: secret \"s\" does not fit: the cluster {why}")), "{said}");
        assert!(applied.snapshot.is_none() && builder.waiting().next().is_none());
    }
}

#[test]
fn a_live_cluster_stays_as_it_is_until_its_next_secrets_come() {
    let mut builder = Builder::default();
    let first = builder.apply(vec![put_cluster("one", None)]).snapshot.expect("live");
    let client = |snapshot: &Snapshot| snapshot.clusters().next().and_then(|it| it.tls.clone()).expect("TLS").id();
    assert!(builder.apply(vec![put_cluster("one", Some("s"))]).snapshot.is_none());
    assert_eq!(client(&builder.snapshot()), client(&first));
    let next = builder.apply(vec![put_authorities("s", "")]).snapshot.expect("live");
    assert_ne!(client(&next), client(&first));
}
