//! What is written as protobuf is read as the YAML would be; and what is no protobuf, or not ours, is refused.

pub(crate) mod encode;
mod hostile;

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use encode::encode;

use crate::decode::{self, Node, Value};
use crate::file::yaml;
use crate::model::resource::{Resource, ResourceKind as Kind};
use crate::protobuf::resource;

/// A configuration that sets every field there is.
const COMPLETE: &str = include_str!("../../testdata/complete.yaml");

/// Every resource of the sample, as a tree.
fn samples() -> Vec<(Kind, Node)> {
    let root = yaml::parse(COMPLETE).0.expect("the sample is YAML");
    let resources = get(&root, "static_resources").expect("it has resources");
    let mut samples = Vec::new();
    for (list, kind) in [("clusters", Kind::Cluster), ("listeners", Kind::Listener)] {
        samples.extend(items(get(resources, list)).map(|node| (kind, node.clone())));
    }
    let mut inner = Vec::new();
    for (_, node) in &samples {
        find(node, "route_config", Kind::Route, &mut inner);
        find(node, "load_assignment", Kind::Endpoints, &mut inner);
    }
    samples.extend(inner);
    samples
}

fn get<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|entry| entry.key == name).map(|entry| &entry.value)
}

fn items(node: Option<&Node>) -> impl Iterator<Item = &Node> {
    match node.map(|node| &node.value) {
        Some(Value::List(items)) => items.iter(),
        _ => [].iter(),
    }
}

/// What stands under `name`, at any depth.
fn find(node: &Node, name: &str, kind: Kind, found: &mut Vec<(Kind, Node)>) {
    found.extend(get(node, name).map(|node| (kind, node.clone())));
    match &node.value {
        Value::Map(entries) => entries.iter().for_each(|entry| find(&entry.value, name, kind, found)),
        Value::List(items) => items.iter().for_each(|item| find(item, name, kind, found)),
        _ => {}
    }
}

#[test]
fn every_supported_field_means_the_same_in_protobuf() {
    let samples = samples();
    assert!(samples.len() > 15, "the sample has many resources");
    let mut kinds = Vec::new();
    for (kind, tree) in samples {
        // Some parts of the sample are no resource by themselves: routes without a name, endpoints by DNS name.
        let Ok(expected) = decode::resource(kind, &tree, Vec::new()) else { continue };
        let bytes = encode(kind.message(), &tree);
        match resource(kind, &bytes) {
            Ok(found) => assert_eq!(found, expected),
            Err(refusal) => panic!("{refusal}"),
        }
        kinds.push(kind);
    }
    assert!([Kind::Cluster, Kind::Listener, Kind::Endpoints].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
}

#[test]
fn routes_are_read() {
    let text = "{ name: r, virtual_hosts: [{ name: v, domains: ['*'], routes: [
        { match: { prefix: '', headers: [{ name: x, range_match: { start: -5, end: 5 } }] },
          direct_response: { status: 200, body: { inline_bytes: aGk= } } },
        { match: { path: / }, route: { cluster: c, timeout: 1.5s, upgrade_configs: [{ upgrade_type: ws, enabled: false }] } }
    ] }] }";
    let tree = yaml::parse(text).0.expect("YAML");
    let expected = decode::resource(Kind::Route, &tree, Vec::new()).expect("good");
    assert_eq!(resource(Kind::Route, &encode(Kind::Route.message(), &tree)).expect("good"), expected);
    let Resource::Route(routes) = expected else { panic!("routes") };
    assert_eq!(routes.virtual_hosts[0].routes.len(), 2);
}

#[test]
fn every_cluster_and_listener_of_the_sample_is_read() {
    let wanted = |(kind, _): &(Kind, Node)| [Kind::Cluster, Kind::Listener].contains(kind);
    for (kind, tree) in samples().into_iter().filter(wanted) {
        if let Err(refusal) = resource(kind, &encode(kind.message(), &tree)) {
            panic!("{refusal}");
        }
    }
}

/// What fuzzing starts from: a byte that says the kind, and the message. `BLESS=1` rewrites the files.
#[test]
fn seeds_are_the_sample() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds/resource");
    let expected: BTreeMap<String, Vec<u8>> = samples()
        .into_iter()
        .enumerate()
        .map(|(index, (kind, tree))| {
            let place = Kind::ALL.iter().position(|other| *other == kind).expect("it is one of all");
            let mut seed = vec![u8::try_from(place).expect("there are few")];
            seed.extend(encode(kind.message(), &tree));
            (format!("{index:02}-{}", kind.service()), seed)
        })
        .collect();
    if crate::file::tests::bless() {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        for (name, seed) in &expected {
            fs::write(folder.join(name), seed).expect("a file");
        }
    }
    let read = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.expect("a file");
        (entry.file_name().into_string().expect("a name"), fs::read(entry.path()).expect("its bytes"))
    };
    let found: BTreeMap<_, _> = fs::read_dir(&folder).expect("the folder").map(read).collect();
    assert!(found == expected, "tests/fuzz/seeds is out of date; run this test with BLESS=1");
}
