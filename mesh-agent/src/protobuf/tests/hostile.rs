//! Bytes that nobody should send: each ends in an error that says where, none in a panic or in memory without end.

use std::time::{Duration, Instant};

use super::encode::{put, varint};
use super::{encode, samples};
use crate::model::resource::ResourceKind as Kind;
use crate::protobuf::resource;
use crate::protobuf::table::{Kind as FieldKind, MessageId, Shape, table};

fn refused(kind: Kind, bytes: &[u8]) -> String {
    resource(kind, bytes).expect_err("it is not good").to_string()
}

/// A message of bytes in one another: the fields of `numbers`, outermost first, around `inner`.
fn nested(numbers: &[u32], inner: &[u8]) -> Vec<u8> {
    numbers.iter().rev().fold(inner.to_vec(), |inner, number| {
        let mut bytes = Vec::new();
        put(&mut bytes, *number, 2, &inner);
        bytes
    })
}

fn named(kind: Kind, bytes: &[u8]) -> Vec<u8> {
    let mut all = nested(&[1], b"x");
    assert_ne!(kind, Kind::Secret);
    all.extend(bytes);
    all
}

#[test]
fn a_stranger_is_refused_by_number_and_place() {
    let mut stranger = Vec::new();
    put(&mut stranger, 4711, 0, &varint(1));
    assert!(
        refused(Kind::Cluster, &named(Kind::Cluster, &stranger))
            .starts_with("cluster \"x\": not supported: envoy.config.cluster.v3.Cluster has no field 4711 here")
    );
    // load_assignment.endpoints[0].lb_endpoints[0].endpoint
    let bytes = nested(&[33, 2, 2, 1], &stranger);
    let refused = refused(Kind::Cluster, &named(Kind::Cluster, &bytes));
    let what = "load_assignment.endpoints[0].lb_endpoints[0].endpoint: not supported: envoy.config.endpoint.v3.Endpoint \
                has no field 4711 here";
    assert!(refused.contains(what), "{refused}");
    assert_eq!(refused.matches("4711").count(), 1, "{refused}");
}

#[test]
fn a_stranger_in_any_message_of_the_sample_is_refused_once() {
    for (kind, tree) in samples() {
        let bytes = encode(kind.message(), &tree);
        if resource(kind, &bytes).is_err() {
            continue;
        }
        let root = table().find(kind.message()).expect("it is there");
        for target in 0.. {
            let mut left = target;
            let spoiled = spoil(root, &bytes, &mut left);
            if left != usize::MAX {
                break;
            }
            let refused = refused(kind, &spoiled);
            assert_eq!(refused.matches("has no field 4711 here").count(), 1, "{refused}");
        }
    }
}

/// `bytes` with a stranger at the end of the message that is the `left`th; `left` is `usize::MAX` then.
fn spoil(id: MessageId, bytes: &[u8], left: &mut usize) -> Vec<u8> {
    let mut spoiled = Vec::new();
    let is_free = ["google.protobuf.Struct", "google.protobuf.Value"].contains(&table().message(id).name);
    let mut reader = crate::protobuf::wire::Reader(bytes);
    let mut rest = bytes;
    while let Ok(Some((number, wire))) = reader.field() {
        let whole = &rest[..rest.len() - reader.0.len()];
        rest = reader.0;
        let field = table().message(id).field(number).expect("it was encoded by the table");
        match (field.kind, wire) {
            (FieldKind::Message(inner), crate::protobuf::wire::Wire::Bytes(bytes))
                if !matches!(field.shape, Shape::Map(_)) =>
            {
                put(&mut spoiled, number, 2, &spoil(inner, bytes, left));
            }
            _ => spoiled.extend(whole),
        }
    }
    if *left == 0 && !is_free {
        put(&mut spoiled, 4711, 0, &varint(1));
        *left = usize::MAX;
    } else if *left != usize::MAX {
        *left -= 1;
    }
    spoiled
}

#[test]
fn what_is_no_encoding_is_said_where_it_stands() {
    for (bytes, what) in [
        (nested(&[33], &[0x0a, 5, b'x']), "load_assignment: ends in the middle of a value"),
        (nested(&[33], &[0x0b]), "load_assignment: has a value of a wire type that proto3 does not have"),
        (nested(&[33, 1], &[0xff, 0xfe]), "load_assignment.cluster_name: is not UTF-8"),
        (vec![0x20, 0xff], "ends in the middle of a value"),
        (vec![0x21, 1, 2, 3, 4, 5, 6, 7, 8], "connect_timeout: has a value of another kind"),
        (
            nested(&[4], &[0x10, 1, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
            "connect_timeout: is not a duration",
        ),
        ([nested(&[4], &[8, 1]), nested(&[4], &[8, 1])].concat(), "connect_timeout: stands twice"),
    ] {
        assert_eq!(refused(Kind::Cluster, &named(Kind::Cluster, &bytes)), format!("cluster \"x\": {what}"));
    }
}

#[test]
fn depth_is_bounded() {
    // A filter's `Any` around a matcher that nests in itself: Permission.not_rule (8) of a policy of the RBAC filter.
    let rule = nested(&[8; 5_000], &[]);
    let permission = nested(&[1], &rule);
    let mut policy = nested(&[1], b"p");
    policy.extend(nested(&[2], &permission));
    let rules = nested(&[1, 2], &policy);
    let mut any = nested(&[1], b"t/envoy.extensions.filters.network.rbac.v3.RBAC");
    any.extend(nested(&[2], &rules));
    let listener = nested(&[3, 3, 4], &any);
    let refused = refused(Kind::Listener, &named(Kind::Listener, &listener));
    assert!(refused.ends_with("too deep: the limit is 100 messages in one another"), "{refused}");
}

#[test]
fn number_of_values_and_time_are_bounded() {
    let started = Instant::now();
    // 64 MiB of endpoints that say nothing: two bytes each.
    let many = nested(&[2], &[0x12, 0].repeat(32 << 20));
    assert!(refused(Kind::Endpoints, &named(Kind::Endpoints, &many)).contains("too long: the limit is 2000000 values"));
    let long = nested(&[1], &vec![b'n'; 1 << 20]);
    let said = refused(Kind::Cluster, &long);
    assert!(said.len() < 1000, "{} bytes are said about a name of 1 MiB", said.len());
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn numbers_without_end_and_out_of_range_are_refused() {
    // Cluster.common_lb_config.healthy_panic_threshold, a Percent: 0 to 100.
    let threshold = |value: f64| {
        let mut percent = Vec::new();
        put(&mut percent, 1, 1, &value.to_le_bytes());
        let mut cluster = named(Kind::Cluster, &nested(&[27, 1], &percent));
        cluster.extend(nested(&[33, 1], b"x"));
        cluster
    };
    assert!(resource(Kind::Cluster, &threshold(12.5)).is_ok());
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e308, -1e308, 100.5, -0.5] {
        let said = refused(Kind::Cluster, &threshold(value));
        assert!(said.starts_with("cluster \"x\": common_lb_config.healthy_panic_threshold.value: "), "{value}: {said}");
    }
    // Cluster.connect_timeout, a Duration: seconds to the last bit.
    for seconds in [i64::MAX, i64::MIN, -1] {
        let mut duration = Vec::new();
        put(&mut duration, 1, 0, &varint(seconds));
        let said = refused(Kind::Cluster, &named(Kind::Cluster, &nested(&[4], &duration)));
        assert!(said.contains("connect_timeout: "), "{seconds}: {said}");
    }
}

#[test]
fn damaged_bytes_never_panic() {
    let samples: Vec<_> = samples().into_iter().map(|(kind, tree)| (kind, encode(kind.message(), &tree))).collect();
    let mut state = 0x5eed_u64;
    let mut random = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % limit.max(1) as u64).expect("small")
    };
    for round in 0..4_000 {
        let (kind, bytes) = &samples[random(samples.len())];
        let mut bytes = bytes.clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes.truncate(at),
                1 => bytes.extend_from_within(at..),
                2 => drop(bytes.splice(at..at, varint(i64::from(round)))),
                _ if !bytes.is_empty() => bytes[at] ^= 1 << random(8),
                _ => {}
            }
        }
        if let Err(refusal) = resource(*kind, &bytes) {
            assert!(!refusal.problems.is_empty(), "{refusal}{bytes:?}");
            assert!(refusal.to_string().chars().all(|c| !c.is_control()), "{refusal}");
        }
    }
}
