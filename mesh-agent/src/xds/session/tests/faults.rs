//! What servers get wrong.

use std::time::Instant;

use super::*;
use crate::xds::session::Unusable;

fn both() -> [Session; 2] {
    [Variant::Sotw, Variant::Delta].map(|variant| {
        let mut session = session(variant);
        session.subscribe_to_all(CDS);
        session.connected(Instant::now());
        session
    })
}

/// The error of an answer, in either form.
fn error(session: &Session, answer: Bytes) -> Option<String> {
    let status = match session.variant() {
        Variant::Sotw => request(answer).error_detail,
        Variant::Delta => delta_request(answer).error_detail,
    };
    status.map(|status| status.message)
}

fn send(session: &mut Session, nonce: &str, names: &[&str], removed: &[&str]) -> (Update, Bytes) {
    let message = match session.variant() {
        Variant::Sotw => response(CDS, nonce, nonce, names),
        Variant::Delta => {
            let named = |it: &&str| {
                let (name, content) = it.split_once('=').unwrap_or((it, ""));
                Resource { resource: Some(any(CDS, name, content)), name: name.to_owned(), ..Resource::default() }
            };
            delta_of(CDS, nonce, names.iter().map(named).collect(), removed)
        }
    };
    take(session, message, Instant::now())
}

#[test]
fn a_name_that_stands_twice_is_refused_and_its_siblings_are_not() {
    for mut session in both() {
        send(&mut session, "1", &["a=1"], &[]);
        let (update, answer) = send(&mut session, "2", &["a=2", "b", "a=3"], &[]);
        assert_eq!((names(&update), removed(&update)), (vec!["b"], vec![]), "the old one stays");
        assert_eq!(error(&session, answer).as_deref(), Some("\"a\": named more than once in one response"));
        assert_eq!(session.held(CDS), 2);
    }
}

#[test]
fn a_name_that_is_both_sent_and_removed_is_refused_delta() {
    let [_, mut session] = both();
    let (update, answer) = send(&mut session, "1", &["a", "b"], &["a"]);
    assert_eq!((names(&update), removed(&update)), (vec!["b"], vec![]));
    assert!(error(&session, answer).expect("a reason").contains("\"a\""));
}

#[test]
fn one_bad_resource_does_not_block_its_siblings() {
    for mut session in both() {
        let now = Instant::now();
        let message = match session.variant() {
            Variant::Sotw => response(CDS, "1", "1", &["bad", "good"]),
            Variant::Delta => delta(CDS, "1", &["bad@1", "good@1"], &[]),
        };
        let update = session.received(message, now).expect("a response");
        assert_eq!(names(&update), ["bad", "good"]);
        let answer = session.decided(&update.ticket, &[fault("bad", "x")], now).expect("an answer");
        assert_eq!(error(&session, answer).as_deref(), Some("cluster \"bad\": x"));
        assert_eq!(session.held(CDS), 1);
    }
}

#[test]
fn a_type_that_is_not_the_responses_is_refused_by_name() {
    for mut session in both() {
        let stranger =
            Any { type_url: "type.googleapis.com/envoy.service.runtime.v3.Runtime".to_owned(), ..any(CDS, "r", "") };
        let message = match session.variant() {
            Variant::Sotw => whole(CDS, "1", "1", vec![stranger, any(CDS, "a", "")]),
            Variant::Delta => {
                let stranger = Resource { resource: Some(stranger), name: "r".to_owned(), ..Resource::default() };
                delta_of(CDS, "1", vec![stranger, resource(CDS, "a@1")], &[])
            }
        };
        let (update, answer) = take(&mut session, message, Instant::now());
        assert_eq!(names(&update), ["a"]);
        let text = error(&session, answer).expect("a reason");
        assert!(text.starts_with("\"r\": type \"type.googleapis.com/envoy.service.runtime.v3.Runtime\""), "{text}");
    }
}

#[test]
fn a_resource_without_a_name_deletes_nothing_sotw() {
    let [mut session, _] = both();
    send(&mut session, "1", &["a", "b"], &[]);
    let garbled = Any { value: Bytes::from_static(&[0x0a, 0x7f, b'a']), ..any(CDS, "", "") };
    let (update, answer) =
        take(&mut session, whole(CDS, "2", "2", vec![garbled, any(CDS, "b", "new")]), Instant::now());
    assert_eq!((names(&update), removed(&update)), (vec!["b"], vec![]), "it may be a");
    assert!(error(&session, answer).expect("a reason").contains("cannot be read"));
}

#[test]
fn a_resource_that_is_named_differently_inside_is_refused_delta() {
    let [_, mut session] = both();
    let resource = Resource { resource: Some(any(CDS, "inner", "")), name: "outer".to_owned(), ..Resource::default() };
    let (update, answer) = take(&mut session, delta_of(CDS, "1", vec![resource], &[]), Instant::now());
    assert!(update.resources.is_empty());
    assert_eq!(error(&session, answer).as_deref(), Some("\"outer\": the resource itself is named \"inner\""));
}

#[test]
fn an_endless_name_is_refused_and_not_repeated() {
    let [_, mut session] = both();
    let mut long = vec![0x0a, 0x80, 0x80, 0x40];
    long.resize(4 + (1 << 20), b'x');
    let huge = Any { type_url: CDS.type_url(), value: long.into() };
    let named = Resource { resource: Some(huge.clone()), name: "x".repeat(1 << 20), ..Resource::default() };
    let nameless = Resource { resource: Some(huge), ..Resource::default() };
    let (update, answer) = take(&mut session, delta_of(CDS, "1", vec![named, nameless], &[]), Instant::now());
    assert!(update.resources.is_empty());
    let text = error(&session, answer).expect("a reason");
    assert!(text.contains("1048576 bytes") && text.len() < 2000, "{}", text.len());
}

#[test]
fn a_resource_again_and_again_in_one_response_is_one_fault() {
    let started = Instant::now();
    for mut session in both() {
        send(&mut session, "1", &["a=1"], &[]);
        let message = match session.variant() {
            Variant::Sotw => whole(CDS, "2", "2", vec![any(CDS, "a", "2"); 200_000]),
            Variant::Delta => delta_of(CDS, "2", vec![resource(CDS, "a@2"); 200_000], &[]),
        };
        let (update, answer) = take(&mut session, message, Instant::now());
        assert!(update.resources.is_empty() && update.removed.is_empty());
        assert_eq!(error(&session, answer).as_deref(), Some("\"a\": named more than once in one response"));
        assert_eq!(session.held(CDS), 1);
    }
    assert!(started.elapsed() < Duration::from_secs(120));
}

#[test]
fn a_million_faults_make_a_short_reason() {
    let now = Instant::now();
    let [mut session, _] = both();
    let update = session.received(response(CDS, "1", "1", &["a"]), now).expect("a response");
    let faults: Vec<_> = (0..100_000).map(|it| fault(&it.to_string(), "bad")).collect();
    let answer = session.decided(&update.ticket, &faults, now).expect("an answer");
    let text = error(&session, answer).expect("a reason");
    assert!(text.len() < 9000 && text.contains(" more"), "{}", text.len());
}

#[test]
fn garbage_ends_the_stream_and_strangers_do_not() {
    for mut session in both() {
        let now = Instant::now();
        let garbage = session.received(Bytes::from_static(&[0xff; 9]), now).expect_err("garbage");
        assert!(garbage.ends_stream(), "{garbage}");
        let url = "type.googleapis.com/envoy.service.runtime.v3.Runtime";
        let message = match session.variant() {
            Variant::Sotw => Response { type_url: url.to_owned(), ..Response::default() }.encode_to_vec(),
            Variant::Delta => DeltaResponse { type_url: url.to_owned(), ..DeltaResponse::default() }.encode_to_vec(),
        };
        let stranger = session.received(message.into(), now).expect_err("a stranger");
        assert!(!stranger.ends_stream() && stranger.to_string().contains(url));
        let message = match session.variant() {
            Variant::Sotw => response(LDS, "1", "1", &["l"]),
            Variant::Delta => delta(LDS, "1", &["l@1"], &[]),
        };
        let unasked = session.received(message, now).expect_err("nobody asked");
        assert!(matches!(unasked, Unusable::NotAskedFor(kind) if kind == LDS));
    }
}

#[test]
fn truncated_and_changed_responses_never_panic() {
    let mut seed = 1u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).expect("31 bits")
    };
    for mut session in both() {
        let now = Instant::now();
        let good = match session.variant() {
            Variant::Sotw => response(CDS, "1", "1", &["a=1", "b=2", "c=3"]),
            Variant::Delta => delta_of(CDS, "1", vec![with_ttl(resource(CDS, "a@1"), 5), resource(CDS, "b@1")], &["c"]),
        };
        for _ in 0..20_000 {
            let mut bytes = good.to_vec();
            for _ in 0..=random() % 3 {
                let at = random() % bytes.len();
                bytes[at] = u8::try_from(random() % 256).expect("a byte");
            }
            bytes.truncate(random() % (bytes.len() * 2) + 1);
            if let Ok(update) = session.received(bytes.into(), now) {
                session.decided(&update.ticket, &[], now);
            }
        }
        session.overdue(now + Duration::from_secs(1_000_000));
    }
}
