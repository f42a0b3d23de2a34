//! Incremental.

use std::collections::HashMap;
use std::time::Instant;

use super::*;

#[test]
fn first_requests_follow_make_before_break_and_only_the_first_has_the_node_delta() {
    let (_, requests) = connected(Variant::Delta, |session| {
        session.subscribe(RDS, &name("r"), PATIENCE);
        session.subscribe_to_all(LDS);
        session.subscribe(EDS, &name("e"), PATIENCE);
        session.subscribe_to_all(CDS);
    });
    let requests: Vec<_> = requests.into_iter().map(delta_request).collect();
    let kinds: Vec<_> = requests.iter().filter_map(|it| ResourceKind::of_type_url(&it.type_url)).collect();
    assert_eq!(kinds, [CDS, EDS, LDS, RDS]);
    let nodes: Vec<_> = requests.iter().map(|it| it.node.is_some()).collect();
    assert_eq!(nodes, [true, false, false, false]);
    assert!(requests[0].resource_names_subscribe.is_empty(), "everything, as every server understands");
    assert_eq!(requests[1].resource_names_subscribe, ["e"]);
}

#[test]
fn ack_has_the_nonce_and_nothing_else_delta() {
    let (mut session, _) = connected(Variant::Delta, |session| session.subscribe_to_all(CDS));
    let (update, answer) = take(&mut session, delta(CDS, "n1", &["a@1", "b@1"], &[]), Instant::now());
    assert_eq!(names(&update), ["a", "b"]);
    let expected =
        DeltaRequest { type_url: CDS.type_url(), response_nonce: "n1".to_owned(), ..DeltaRequest::default() };
    assert_eq!(delta_request(answer), expected);
}

#[test]
fn nack_has_the_reason_and_keeps_the_last_good_version_delta() {
    let now = Instant::now();
    let (mut session, _) = connected(Variant::Delta, |session| session.subscribe_to_all(CDS));
    take(&mut session, delta(CDS, "n1", &["a@1"], &[]), now);
    let update = session.received(delta(CDS, "n2", &["a@2", "b@2"], &[]), now).expect("a response");
    let answer = session.decided(&update.ticket, &[fault("a", "bad")], now);
    let answer = delta_request(answer.expect("an answer"));
    assert_eq!(answer.response_nonce, "n2");
    assert_eq!(answer.error_detail.expect("a reason").message, "cluster \"a\": bad");
    let again = delta_request(only(session.connected(now)));
    let live = [("a", "1"), ("b", "2")].map(|(name, version)| (name.to_owned(), version.to_owned()));
    assert_eq!(again.initial_resource_versions, HashMap::from(live), "its good sibling is not held back");
}

#[test]
fn every_response_is_answered_by_its_nonce_delta() {
    let now = Instant::now();
    let (mut session, _) = connected(Variant::Delta, |session| session.subscribe_to_all(CDS));
    let first = session.received(delta(CDS, "n1", &["a@1"], &[]), now).expect("a response");
    let second = session.received(delta(CDS, "n2", &["a@2"], &[]), now).expect("a response");
    for (update, nonce) in [(first, "n1"), (second, "n2")] {
        let answer = session.decided(&update.ticket, &[], now).expect("an answer");
        assert_eq!(delta_request(answer).response_nonce, nonce);
    }
}

#[test]
fn a_reconnect_says_what_is_live_and_asks_for_all_again_delta() {
    let now = Instant::now();
    let (mut session, _) = connected(Variant::Delta, |session| {
        session.subscribe_to_all(CDS);
        session.subscribe(EDS, &name("a"), PATIENCE);
        session.subscribe(EDS, &name("b"), PATIENCE);
    });
    take(&mut session, delta(CDS, "1", &["a@7"], &[]), now);
    take(&mut session, delta(EDS, "2", &["a@9"], &[]), now);
    session.disconnected();
    let requests: Vec<_> = session.connected(now).into_iter().map(delta_request).collect();
    assert_eq!(requests[0].initial_resource_versions, HashMap::from([("a".to_owned(), "7".to_owned())]));
    assert_eq!(requests[1].initial_resource_versions, HashMap::from([("a".to_owned(), "9".to_owned())]));
    assert_eq!(requests[1].resource_names_subscribe, ["a", "b"]);
    assert!(requests[0].node.is_some() && requests.iter().all(|it| it.response_nonce.is_empty()));
    let (update, _) = take(&mut session, delta(CDS, "1", &[], &["a"]), now);
    assert_eq!(removed(&update), ["a"], "what went meanwhile");
}

#[test]
fn spontaneous_changes_of_names_have_no_nonce_and_only_what_changes_delta() {
    let now = Instant::now();
    let (mut session, _) = connected(Variant::Delta, |session| session.subscribe(EDS, &name("a"), PATIENCE));
    take(&mut session, delta(EDS, "n1", &["a@1"], &[]), now);
    session.subscribe(EDS, &name("b"), PATIENCE);
    session.unsubscribe(EDS, "a");
    let asked = delta_request(only(session.flush(now)));
    assert_eq!(
        (asked.resource_names_subscribe, asked.resource_names_unsubscribe),
        (vec!["b".into()], vec!["a".into()])
    );
    assert!(asked.response_nonce.is_empty() && asked.initial_resource_versions.is_empty());
    assert!(session.flush(now).is_empty(), "said once");
    assert_eq!(session.held(EDS), 0, "what is unsubscribed is not live");
}

#[test]
fn changes_of_names_do_not_wait_for_a_verdict_delta() {
    let now = Instant::now();
    let (mut session, _) = connected(Variant::Delta, |session| session.subscribe(EDS, &name("a"), PATIENCE));
    let update = session.received(delta(EDS, "n1", &["a@1"], &[]), now).expect("a response");
    session.subscribe(EDS, &name("b"), PATIENCE);
    assert_eq!(delta_request(only(session.flush(now))).resource_names_subscribe, ["b"]);
    assert!(session.decided(&update.ticket, &[], now).is_some());
}

#[test]
fn a_name_that_is_dropped_and_wanted_again_is_asked_for_again_delta() {
    let now = Instant::now();
    let (mut session, _) = connected(Variant::Delta, |session| session.subscribe(EDS, &name("a"), PATIENCE));
    take(&mut session, delta(EDS, "n1", &["a@1"], &[]), now);
    session.unsubscribe(EDS, "a");
    session.subscribe(EDS, &name("a"), PATIENCE);
    let asked = delta_request(only(session.flush(now)));
    assert_eq!(asked.resource_names_subscribe, ["a"], "the server sends it again, as it must");
    assert!(asked.resource_names_unsubscribe.is_empty());
    let (update, _) = take(&mut session, delta(EDS, "n2", &["a@1"], &[]), now);
    assert_eq!(names(&update), ["a"]);
}

#[test]
fn removed_resources_are_gone_and_may_come_back_delta() {
    let now = Instant::now();
    let (mut session, _) = connected(Variant::Delta, |session| session.subscribe_to_all(LDS));
    take(&mut session, delta(LDS, "1", &["a@1", "b@1"], &[]), now);
    let (update, _) = take(&mut session, delta(LDS, "2", &[], &["a", "unheard-of"]), now);
    assert_eq!(removed(&update), ["a"]);
    assert_eq!(session.held(LDS), 1, "absence means nothing in delta");
    let (update, _) = take(&mut session, delta(LDS, "3", &["a@1"], &[]), now);
    assert_eq!(names(&update), ["a"]);
}

#[test]
fn removed_tells_at_once_that_a_resource_does_not_exist_delta() {
    let now = Instant::now();
    let (mut session, _) = connected(Variant::Delta, |session| session.subscribe(RDS, &name("r"), PATIENCE));
    let (update, _) = take(&mut session, delta(RDS, "1", &[], &["r"]), now);
    assert_eq!(removed(&update), ["r"]);
    assert_eq!(session.deadline(), None, "and nobody waits any longer");
}

#[test]
fn removed_tells_also_who_waits_without_a_deadline_delta() {
    let now = Instant::now();
    let (mut session, _) = connected(Variant::Delta, |session| session.subscribe(RDS, &name("r"), None));
    let (update, _) = take(&mut session, delta(RDS, "1", &[], &["r", "unheard-of"]), now);
    assert_eq!(removed(&update), ["r"]);
    let (update, _) = take(&mut session, delta(RDS, "2", &["r@1"], &[]), now);
    assert_eq!(names(&update), ["r"], "it may come later");
}

#[test]
fn a_wildcard_and_names_go_together_delta() {
    let now = Instant::now();
    let (mut session, _) = connected(Variant::Delta, |session| session.subscribe_to_all(CDS));
    session.subscribe(CDS, &name("x"), PATIENCE);
    assert_eq!(delta_request(only(session.flush(now))).resource_names_subscribe, ["x"], "the wildcard goes on");
    take(&mut session, delta(CDS, "1", &["a@1", "x@1"], &[]), now);
    let again = delta_request(only(session.connected(now)));
    assert_eq!(again.resource_names_subscribe, ["*", "x"], "on a new stream it has to be said");
    // Which of the two it was for, the server says: removed, or sent again.
    session.unsubscribe(CDS, "x");
    assert_eq!(delta_request(only(session.flush(now))).resource_names_unsubscribe, ["x"]);
    assert_eq!(session.held(CDS), 2);
    let (update, _) = take(&mut session, delta(CDS, "2", &[], &["x"]), now);
    assert_eq!(removed(&update), ["x"]);
}

#[test]
fn a_resource_is_wanted_by_its_alias_as_well_delta() {
    let now = Instant::now();
    let (mut session, _) =
        connected(Variant::Delta, |session| session.subscribe(ResourceKind::VirtualHost, &name("r/a.com"), PATIENCE));
    let mut host = resource(ResourceKind::VirtualHost, "r/all@1");
    host.aliases = vec!["r/a.com".to_owned()];
    let (update, _) = take(&mut session, delta_of(ResourceKind::VirtualHost, "1", vec![host], &[]), now);
    assert_eq!(names(&update), ["r/all"]);
}

#[test]
fn virtual_hosts_have_aliases_and_may_be_said_not_to_exist_delta() {
    let now = Instant::now();
    let (mut session, _) = connected(Variant::Delta, |session| {
        ["r/a.com", "r/b.com", "r/c.com"]
            .into_iter()
            .for_each(|host| session.subscribe(ResourceKind::VirtualHost, &name(host), PATIENCE));
    });
    let mut host = resource(ResourceKind::VirtualHost, "r/all@1");
    host.aliases = vec!["r/a.com".to_owned()];
    // Without itself: there is none, under either name.
    let mut none = resource(ResourceKind::VirtualHost, "r/b.com@1");
    none.resource = None;
    let mut by_alias = resource(ResourceKind::VirtualHost, "r/nobody@1");
    by_alias.resource = None;
    by_alias.aliases = vec!["r/c.com".to_owned()];
    let all = vec![host, none, by_alias];
    let (update, _) = take(&mut session, delta_of(ResourceKind::VirtualHost, "1", all, &[]), now);
    assert_eq!((names(&update), removed(&update)), (vec!["r/all"], vec!["r/b.com", "r/c.com"]));
    assert!(session.overdue(now + Duration::from_secs(3600)).is_empty(), "nothing is waited for");
    let (update, _) = take(&mut session, delta(ResourceKind::VirtualHost, "2", &[], &["r/all"]), now);
    assert_eq!(removed(&update), ["r/all"]);
}

#[test]
fn what_was_wanted_by_an_alias_comes_again_after_it_was_let_go_delta() {
    const VHDS: ResourceKind = ResourceKind::VirtualHost;
    let now = Instant::now();
    let sent = || {
        let mut host = resource(VHDS, "r/all@1");
        host.aliases = vec!["r/a.com".to_owned(), "r/b.com".to_owned()];
        delta_of(VHDS, "1", vec![host], &[])
    };
    let (mut session, _) = connected(Variant::Delta, |session| session.subscribe(VHDS, &name("r/a.com"), PATIENCE));
    assert_eq!(names(&take(&mut session, sent(), now).0), ["r/all"]);
    assert!(!session.lacks(VHDS, "r/a.com"));
    // Wanted by another name as well, it stays as long as that.
    session.subscribe(VHDS, &name("r/b.com"), PATIENCE);
    session.flush(now);
    session.unsubscribe(VHDS, "r/a.com");
    session.flush(now);
    assert_eq!((session.held(VHDS), names(&take(&mut session, sent(), now).0)), (1, vec![]));
    session.unsubscribe(VHDS, "r/b.com");
    session.flush(now);
    assert_eq!(session.held(VHDS), 0);
    session.subscribe(VHDS, &name("r/a.com"), PATIENCE);
    session.flush(now);
    assert_eq!(names(&take(&mut session, sent(), now).0), ["r/all"], "the same bytes, and news again");
    // On the next stream the server is told that it is there, and need not send it.
    let again = delta_request(only(session.connected(now)));
    assert_eq!(again.initial_resource_versions.keys().collect::<Vec<_>>(), ["r/all"]);
    assert!(session.overdue(now + Duration::from_secs(3600)).is_empty(), "nothing is waited for");
    let (update, _) = take(&mut session, delta(VHDS, "2", &[], &["r/all"]), now);
    assert_eq!((removed(&update), session.held(VHDS)), (vec!["r/all"], 0));
    assert!(session.lacks(VHDS, "r/a.com"));
}
