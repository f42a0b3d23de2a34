//! State of the world.

use std::time::Instant;

use super::*;

#[test]
fn first_requests_follow_make_before_break_and_only_the_first_has_the_node_sotw() {
    let (_, requests) = connected(Variant::Sotw, |session| {
        session.subscribe(RDS, &name("r"), PATIENCE);
        session.subscribe_to_all(LDS);
        session.subscribe(EDS, &name("e"), PATIENCE);
        session.subscribe_to_all(CDS);
    });
    let requests: Vec<_> = requests.into_iter().map(request).collect();
    let kinds: Vec<_> = requests.iter().filter_map(|it| ResourceKind::of_type_url(&it.type_url)).collect();
    assert_eq!(kinds, [CDS, EDS, LDS, RDS]);
    assert_eq!(requests[0].node.as_deref(), Some(NODE));
    assert!(requests[1..].iter().all(|it| it.node.is_none()));
    assert!(requests.iter().all(|it| it.version_info.is_empty() && it.response_nonce.is_empty()));
}

#[test]
fn ack_has_version_and_nonce_sotw() {
    let (mut session, _) = connected(Variant::Sotw, |session| session.subscribe_to_all(CDS));
    let (update, answer) = take(&mut session, response(CDS, "n1", "v1", &["a", "b"]), Instant::now());
    assert_eq!((names(&update), update.version.as_str()), (vec!["a", "b"], "v1"));
    let answer = request(answer);
    assert_eq!((answer.version_info.as_str(), answer.response_nonce.as_str()), ("v1", "n1"));
    assert!(answer.error_detail.is_none() && answer.node.is_none() && answer.resource_names.is_empty());
}

#[test]
fn nack_has_the_last_good_version_and_the_reason_sotw() {
    let now = Instant::now();
    let (mut session, _) = connected(Variant::Sotw, |session| session.subscribe_to_all(CDS));
    take(&mut session, response(CDS, "n1", "v1", &["a"]), now);
    let update = session.received(response(CDS, "n2", "v2", &["a=new"]), now).expect("a response");
    let answer = session.decided(&update.ticket, &[fault("a", "lb_policy: not supported")], now);
    let answer = request(answer.expect("an answer"));
    assert_eq!((answer.version_info.as_str(), answer.response_nonce.as_str()), ("v1", "n2"));
    let status = answer.error_detail.expect("a reason");
    assert_eq!((status.code, status.message.as_str()), (3, "cluster \"a\": lb_policy: not supported"));
    // ACK after NACK.
    let (update, answer) = take(&mut session, response(CDS, "n3", "v3", &["a=newer"]), now);
    assert_eq!(names(&update), ["a"]);
    assert_eq!(request(answer).version_info, "v3");
}

#[test]
fn nonces_and_versions_belong_to_a_kind_sotw() {
    let now = Instant::now();
    let (mut session, _) = connected(Variant::Sotw, |session| {
        session.subscribe_to_all(CDS);
        session.subscribe_to_all(LDS);
    });
    take(&mut session, response(CDS, "c1", "5", &["a"]), now);
    let (_, answer) = take(&mut session, response(LDS, "l1", "2", &["l"]), now);
    assert_eq!(request(answer).response_nonce, "l1");
    session.subscribe(CDS, &name("x"), PATIENCE);
    let asked = request(only(session.flush(now)));
    assert_eq!((asked.version_info.as_str(), asked.response_nonce.as_str()), ("5", "c1"));
}

#[test]
fn the_verdict_on_a_response_that_is_superseded_is_not_sent_sotw() {
    let now = Instant::now();
    let (mut session, _) = connected(Variant::Sotw, |session| session.subscribe_to_all(CDS));
    let first = session.received(response(CDS, "n1", "v1", &["a=1"]), now).expect("a response");
    let second = session.received(response(CDS, "n2", "v2", &["a=2"]), now).expect("a response");
    assert_eq!(session.decided(&first.ticket, &[], now), None, "its nonce is stale");
    let answer = request(session.decided(&second.ticket, &[], now).expect("an answer"));
    assert_eq!((answer.version_info.as_str(), answer.response_nonce.as_str()), ("v2", "n2"));
}

#[test]
fn a_reconnect_begins_with_the_version_and_without_nonce_sotw() {
    let now = Instant::now();
    let (mut session, _) = connected(Variant::Sotw, |session| session.subscribe_to_all(CDS));
    take(&mut session, response(CDS, "n1", "v1", &["a"]), now);
    let again = request(only(session.connected(now)));
    assert_eq!((again.version_info.as_str(), again.response_nonce.as_str()), ("v1", ""));
    assert_eq!(again.node.as_deref(), Some(NODE), "each stream has the node");
    let (update, _) = take(&mut session, response(CDS, "n1", "v1", &["a"]), now);
    assert!(update.resources.is_empty(), "what is sent again as it was changes nothing");
}

#[test]
fn a_verdict_that_comes_after_the_stream_is_not_sent_but_counts_sotw() {
    let now = Instant::now();
    let (mut session, _) = connected(Variant::Sotw, |session| session.subscribe_to_all(CDS));
    let update = session.received(response(CDS, "n1", "v1", &["a"]), now).expect("a response");
    session.disconnected();
    assert_eq!(session.decided(&update.ticket, &[], now), None);
    assert_eq!(request(only(session.connected(now))).version_info, "v1");
    assert_eq!(session.held(CDS), 1);
}

#[test]
fn absence_deletes_clusters_and_listeners_only_sotw() {
    let now = Instant::now();
    let (mut session, _) = connected(Variant::Sotw, |session| {
        session.subscribe_to_all(CDS);
        session.subscribe_to_all(LDS);
        ["a", "b"].iter().for_each(|it| session.subscribe(EDS, &name(it), PATIENCE));
        ["a", "b"].iter().for_each(|it| session.subscribe(RDS, &name(it), PATIENCE));
    });
    for kind in [CDS, LDS, EDS, RDS] {
        take(&mut session, response(kind, "1", "1", &["a", "b"]), now);
        let (update, _) = take(&mut session, response(kind, "2", "2", &["b=2"]), now);
        let gone: &[&str] = if [CDS, LDS].contains(&kind) { &["a"] } else { &[] };
        assert_eq!((removed(&update).as_slice(), names(&update)), (gone, vec!["b"]), "{kind}");
        let (update, _) = take(&mut session, response(kind, "3", "3", &[]), now);
        assert_eq!(removed(&update).is_empty(), gone.is_empty(), "{kind}: an empty response");
    }
}

#[test]
fn a_change_of_names_carries_all_names_and_the_last_nonce_sotw() {
    let now = Instant::now();
    let (mut session, requests) = connected(Variant::Sotw, |session| session.subscribe(EDS, &name("a"), PATIENCE));
    let requests: Vec<_> = requests.into_iter().map(request).collect();
    assert_eq!(requests[0].resource_names, ["a"]);
    take(&mut session, response(EDS, "n1", "v1", &["a"]), now);
    session.subscribe(EDS, &name("b"), PATIENCE);
    let asked = request(only(session.flush(now)));
    assert_eq!((asked.resource_names, asked.response_nonce.as_str()), (vec!["a".to_owned(), "b".to_owned()], "n1"));
    assert!(session.flush(now).is_empty(), "said once");
    session.unsubscribe(EDS, "a");
    session.unsubscribe(EDS, "b");
    assert!(request(only(session.flush(now))).resource_names.is_empty(), "nothing is wanted any longer");
}

#[test]
fn a_change_of_names_waits_for_the_verdict_and_goes_with_it_sotw() {
    let now = Instant::now();
    let (mut session, _) = connected(Variant::Sotw, |session| session.subscribe(EDS, &name("a"), PATIENCE));
    let update = session.received(response(EDS, "n1", "v1", &["a"]), now).expect("a response");
    session.subscribe(EDS, &name("b"), PATIENCE);
    assert!(session.flush(now).is_empty(), "it would be taken for a verdict");
    let answer = request(session.decided(&update.ticket, &[], now).expect("an answer"));
    assert_eq!(answer.resource_names, ["a", "b"]);
    assert!(session.flush(now).is_empty());
}

#[test]
fn a_wildcard_with_names_is_spelled_out_sotw() {
    let now = Instant::now();
    let (mut session, requests) = connected(Variant::Sotw, |session| session.subscribe_to_all(CDS));
    let requests: Vec<_> = requests.into_iter().map(request).collect();
    assert!(requests[0].resource_names.is_empty(), "as every server understands");
    session.subscribe(CDS, &name("x"), PATIENCE);
    assert_eq!(request(only(session.flush(now))).resource_names, ["*", "x"]);
    session.unsubscribe(CDS, "x");
    assert_eq!(request(only(session.flush(now))).resource_names, ["*"], "nothing would now mean nothing");
    assert!(request(only(session.connected(now))).resource_names.is_empty(), "a new stream begins anew");
}

#[test]
fn resources_that_nobody_asked_for_are_ignored_sotw() {
    let now = Instant::now();
    let (mut session, _) = connected(Variant::Sotw, |session| session.subscribe(EDS, &name("a"), PATIENCE));
    let (update, answer) = take(&mut session, response(EDS, "n1", "v1", &["a", "stranger"]), now);
    assert_eq!(names(&update), ["a"]);
    assert!(request(answer).error_detail.is_none(), "silently");
}

#[test]
fn nothing_is_asked_of_a_kind_that_nobody_wants() {
    for variant in [Variant::Sotw, Variant::Delta] {
        let mut session = session(variant);
        session.subscribe_to_all(CDS);
        session.subscribe(EDS, &name("a"), PATIENCE);
        session.unsubscribe(EDS, "a");
        assert_eq!(session.connected(Instant::now()).len(), 1, "{variant:?}: an empty first request would ask for all");
    }
}

#[test]
fn a_resource_that_comes_back_is_new_again_sotw() {
    let now = Instant::now();
    let (mut session, _) = connected(Variant::Sotw, |session| session.subscribe_to_all(CDS));
    take(&mut session, response(CDS, "1", "1", &["a"]), now);
    take(&mut session, response(CDS, "2", "2", &[]), now);
    let (update, _) = take(&mut session, response(CDS, "3", "3", &["a"]), now);
    assert_eq!(names(&update), ["a"]);
}
