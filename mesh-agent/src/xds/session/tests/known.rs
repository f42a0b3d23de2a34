//! What operators are told of resources.

use std::time::{Instant, SystemTime};

use super::*;
use crate::model::management::{Accepted, Known, Refused};

const MINUTE: Duration = Duration::from_secs(60);

/// A minute after `start`, by both clocks.
fn known(session: &Session, start: Instant, name: &str) -> Option<Known> {
    let known = session.known(start + MINUTE, SystemTime::UNIX_EPOCH + MINUTE);
    known.get(&CDS).and_then(|of_kind| of_kind.get(name).cloned())
}

fn accepted(version: &str, after: Duration) -> Option<Accepted> {
    Some(Accepted { version: name(version), at: SystemTime::UNIX_EPOCH + after })
}

#[test]
fn what_was_accepted_and_what_was_refused_since_is_known_with_its_time() {
    for variant in [Variant::Sotw, Variant::Delta] {
        let (start, later) = (Instant::now(), Duration::from_secs(7));
        let (mut session, _) = connected(variant, |it| it.subscribe_to_all(CDS));
        let sent = |nonce: &str, a: &str, b: &str| match variant {
            Variant::Sotw => response(CDS, nonce, nonce, &[&format!("a={a}"), &format!("b={b}")]),
            Variant::Delta => delta(CDS, nonce, &[&format!("a@{a}"), &format!("b@{b}")], &[]),
        };
        take(&mut session, sent("1", "1", "1"), start);
        let update = session.received(sent("2", "2", "1"), start + later).expect("a response");
        session.decided(&update.ticket, &[fault("a", "bad")], start + later);
        let a = known(&session, start, "a").expect("it is live");
        assert_eq!(a.accepted, accepted("1", Duration::ZERO), "{variant:?}");
        let refused = a.refused.expect("it was refused");
        assert_eq!((refused.at, &*refused.reason), (SystemTime::UNIX_EPOCH + later, "cluster \"a\": bad"));
        // The same again is no update; its version may be another one in SotW.
        let b = known(&session, start, "b").and_then(|it| it.accepted).expect("it is live");
        assert_eq!(b.at, SystemTime::UNIX_EPOCH);

        // What is live is sent again: the server has taken back what was refused.
        take(&mut session, sent("x", "1", "1"), start + later);
        assert_eq!(known(&session, start, "a").and_then(|it| it.refused), None, "{variant:?}");
        take(&mut session, sent("3", "3", "1"), start + later);
        let a = known(&session, start, "a").expect("it is live");
        assert_eq!((a.accepted, a.refused), (accepted("3", later), None), "a good one ends it");
    }
}

#[test]
fn of_what_is_gone_nothing_is_known() {
    let start = Instant::now();
    for variant in [Variant::Sotw, Variant::Delta] {
        let (mut session, _) = connected(variant, |it| it.subscribe_to_all(CDS));
        let (first, second) = match variant {
            Variant::Sotw => (response(CDS, "1", "1", &["a"]), response(CDS, "2", "2", &["b"])),
            Variant::Delta => (delta(CDS, "1", &["a@1"], &[]), delta(CDS, "2", &["b@1"], &["a"])),
        };
        let update = session.received(first, start).expect("a response");
        session.decided(&update.ticket, &[fault("a", "bad")], start);
        assert_eq!(
            known(&session, start, "a").and_then(|it| it.refused).map(|it| it.reason),
            Some("cluster \"a\": bad".into())
        );
        take(&mut session, second, start);
        assert_eq!(known(&session, start, "a"), None, "{variant:?}");
    }
}

#[test]
fn what_does_not_come_is_known_to_be_missing_until_it_is_asked_for_anew() {
    let start = Instant::now();
    let mut session = session(Variant::Delta);
    session.subscribe(CDS, &name("a"), PATIENCE);
    session.connected(start);
    assert_eq!(known(&session, start, "a"), Some(Known::default()));
    session.overdue(start + MINUTE);
    assert_eq!(known(&session, start, "a"), Some(Known { is_missing: true, ..Known::default() }));
    session.connected(start + MINUTE);
    assert_eq!(known(&session, start, "a"), Some(Known::default()));
}

#[test]
fn names_that_a_server_makes_up_are_bounded() {
    let start = Instant::now();
    let (mut session, _) = connected(Variant::Delta, |it| it.subscribe_to_all(CDS));
    let long = "long".repeat(1 << 10);
    for round in 0..20 {
        let names: Vec<_> = (0..100).map(|at| format!("{round}-{at}@1")).collect();
        let update =
            session.received(delta(CDS, "n", &names.iter().map(String::as_str).collect::<Vec<_>>(), &[]), start);
        let update = update.expect("a response");
        let faults: Vec<_> = update.resources.iter().map(|it| fault(&it.name, &long)).collect();
        session.decided(&update.ticket, &faults, start);
    }
    let known = session.known(start, SystemTime::UNIX_EPOCH);
    let refused: Vec<&Refused> = known[&CDS].values().filter_map(|it| it.refused.as_ref()).collect();
    assert_eq!(refused.len(), 1000);
    assert!(refused.iter().all(|it| it.reason.len() == 1024));
}
