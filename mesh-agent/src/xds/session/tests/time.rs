//! Waiting, and time to live.

use std::time::Instant;

use super::*;
use crate::xds::session::{Missing, Why};

const SECOND: Duration = Duration::from_secs(1);

fn never_came(name: &str) -> Missing {
    Missing { kind: EDS, name: Arc::from(name), why: Why::NeverCame }
}

#[test]
fn what_does_not_come_in_15_s_does_not_exist_but_may_come_later() {
    for variant in [Variant::Sotw, Variant::Delta] {
        let start = Instant::now();
        let mut session = session(variant);
        session.subscribe(EDS, &name("a"), PATIENCE);
        session.subscribe(EDS, &name("b"), PATIENCE);
        session.subscribe(EDS, &name("patient"), None);
        assert_eq!(session.deadline(), None, "nobody waits without a stream");
        session.connected(start);
        let came = |nonce| match variant {
            Variant::Sotw => response(EDS, nonce, nonce, &["a"]),
            Variant::Delta => delta(EDS, nonce, &["a@1"], &[]),
        };
        take(&mut session, came("1"), start);
        assert_eq!(session.deadline(), Some(start + 15 * SECOND));
        assert_eq!(session.overdue(start + 14 * SECOND), []);
        assert_eq!(session.overdue(start + 15 * SECOND), [never_came("b")]);
        assert_eq!((session.overdue(start + 99 * SECOND), session.deadline()), (vec![], None), "said once");
        let late = match variant {
            Variant::Sotw => response(EDS, "2", "2", &["b"]),
            Variant::Delta => delta(EDS, "2", &["b@1"], &[]),
        };
        assert_eq!(names(&take(&mut session, late, start).0), ["b"], "{variant:?}");
    }
}

#[test]
fn waiting_begins_anew_with_each_stream_and_ends_with_interest() {
    let start = Instant::now();
    let mut session = session(Variant::Delta);
    session.subscribe(EDS, &name("a"), PATIENCE);
    session.connected(start);
    session.disconnected();
    assert_eq!(session.deadline(), None);
    session.connected(start + 10 * SECOND);
    assert_eq!(session.deadline(), Some(start + 25 * SECOND));
    session.unsubscribe(EDS, "a");
    assert_eq!(session.deadline(), None);
}

#[test]
fn what_is_refused_and_was_never_live_is_still_waited_for() {
    let start = Instant::now();
    let mut session = session(Variant::Delta);
    session.subscribe(EDS, &name("a"), PATIENCE);
    session.connected(start);
    let update = session.received(delta(EDS, "1", &["a@1"], &[]), start).expect("a response");
    session.decided(&update.ticket, &[fault("a", "bad")], start);
    assert_eq!(session.overdue(start + 15 * SECOND), [never_came("a")]);
}

#[test]
fn a_resource_with_a_ttl_expires_also_without_a_stream_delta() {
    let start = Instant::now();
    let mut session = session(Variant::Delta);
    session.subscribe_to_all(CDS);
    session.connected(start);
    take(&mut session, delta_of(CDS, "1", vec![with_ttl(resource(CDS, "a@1"), 5), resource(CDS, "b@1")], &[]), start);
    session.disconnected();
    assert_eq!(session.deadline(), Some(start + 5 * SECOND));
    let expired = Missing { kind: CDS, name: name("a"), why: Why::Expired };
    assert_eq!(session.overdue(start + 5 * SECOND), [expired]);
    assert_eq!(session.held(CDS), 1);
}

#[test]
fn a_heartbeat_renews_the_ttl_of_the_version_it_names_delta() {
    let start = Instant::now();
    let mut session = session(Variant::Delta);
    session.subscribe_to_all(CDS);
    session.connected(start);
    take(&mut session, delta_of(CDS, "1", vec![with_ttl(resource(CDS, "a@1"), 5)], &[]), start);
    let beat = |version| Resource { resource: None, ..with_ttl(resource(CDS, version), 5) };
    let (update, answer) = take(&mut session, delta_of(CDS, "2", vec![beat("a@1")], &[]), start + 3 * SECOND);
    assert!(update.resources.is_empty() && delta_request(answer).error_detail.is_none());
    assert_eq!(session.deadline(), Some(start + 8 * SECOND));
    take(&mut session, delta_of(CDS, "3", vec![beat("a@2")], &[]), start + 4 * SECOND);
    assert_eq!(session.deadline(), Some(start + 8 * SECOND), "of another version: no news of this one");
    take(&mut session, delta_of(CDS, "4", vec![beat("b@1")], &[]), start + 4 * SECOND);
    assert_eq!(session.held(CDS), 1, "nothing comes into being by a heartbeat");
    take(&mut session, delta(CDS, "5", &["a@1"], &[]), start + 5 * SECOND);
    assert_eq!(session.deadline(), None, "sent again without a TTL, it has none");
}

/// A resource with what is said of it, as SotW carries that.
fn wrapped(resource: &Resource) -> Any {
    Any {
        type_url: "type.googleapis.com/envoy.service.discovery.v3.Resource".to_owned(),
        value: resource.encode_to_vec().into(),
    }
}

#[test]
fn wrapped_resources_have_ttl_and_heartbeats_sotw() {
    let start = Instant::now();
    let mut session = session(Variant::Sotw);
    session.subscribe_to_all(CDS);
    session.connected(start);
    let live = wrapped(&with_ttl(resource(CDS, "a@"), 5));
    let (update, _) = take(&mut session, whole(CDS, "1", "v1", vec![live, any(CDS, "b", "")]), start);
    assert_eq!(names(&update), ["a", "b"]);
    let beat = Resource { resource: None, ..with_ttl(resource(CDS, "a@v1"), 5) };
    let (update, _) =
        take(&mut session, whole(CDS, "2", "v1", vec![wrapped(&beat), any(CDS, "b", "")]), start + SECOND);
    assert!(update.resources.is_empty() && update.removed.is_empty(), "a heartbeat is no absence");
    assert_eq!(session.deadline(), Some(start + 6 * SECOND));
}

#[test]
fn heartbeats_alone_delete_nothing_sotw() {
    let start = Instant::now();
    let mut session = session(Variant::Sotw);
    session.subscribe_to_all(CDS);
    session.connected(start);
    let live = wrapped(&with_ttl(resource(CDS, "a@"), 5));
    take(&mut session, whole(CDS, "1", "v1", vec![live, any(CDS, "b", "")]), start);
    let beat = wrapped(&Resource { resource: None, ..with_ttl(resource(CDS, "a@v1"), 5) });
    let (update, _) = take(&mut session, whole(CDS, "2", "v1", vec![beat]), start + SECOND);
    assert!(update.removed.is_empty(), "b has no time to live, so nothing is said about it");
    assert_eq!((session.deadline(), session.held(CDS)), (Some(start + 6 * SECOND), 2));
}

#[test]
fn an_older_expiry_does_not_end_a_resource_that_was_sent_again() {
    let start = Instant::now();
    let mut session = session(Variant::Delta);
    session.subscribe_to_all(CDS);
    session.connected(start);
    take(&mut session, delta_of(CDS, "1", vec![with_ttl(resource(CDS, "a@1"), 5)], &[]), start);
    take(&mut session, delta_of(CDS, "2", vec![with_ttl(resource(CDS, "a@2"), 60)], &[]), start + SECOND);
    assert_eq!(session.overdue(start + 30 * SECOND), []);
    take(&mut session, delta(CDS, "3", &[], &["a"]), start + 31 * SECOND);
    assert_eq!(session.deadline(), None);
}
