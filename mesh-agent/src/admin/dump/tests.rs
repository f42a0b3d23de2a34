//! What is dumped is read again as the same configuration.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::admin::dump;
use crate::file;
use crate::model::config::Config;
use crate::model::management::{KnownResources, Standing};
use crate::snapshot::{Builder, Change};

#[test]
fn every_supported_field_survives_a_dump() {
    let written = read(include_str!("../../../testdata/complete.yaml"));
    let mut builder = Builder::default();
    let (mut snapshot, rejected) = builder.build(&written.listeners, &written.clusters, &HashMap::new());
    assert_eq!((rejected, builder.add_udp(&mut snapshot, &written.udp_listeners)), (vec![], vec![]));
    // What comes by itself does not come here.
    while builder.waiting().next().is_some() {
        let needs: Vec<_> = builder.waiting().map(|(.., need)| Change::GiveUp(need.clone())).collect();
        snapshot = builder.apply(needs).snapshot.unwrap_or(snapshot);
    }
    let written = Arc::new(written);
    let live = dump::Live {
        config: Arc::clone(&written),
        snapshot: Arc::new(snapshot),
        standing: Standing::default(),
        known: KnownResources::default(),
        acceleration: None,
    };
    let dumped = dump::config(&live, false);
    let dumped = serde_json::to_string_pretty(&as_bootstrap(&dumped)).unwrap();
    // The one key that stands in it.
    let key = "-----BEGIN PRIVATE KEY-----";
    assert_eq!((dumped.matches("[redacted]").count(), dumped.contains(key)), (1, false));
    let again = read(&dumped.replace("[redacted]", key));
    let (mut node, mut expected) = (again.node, written.node.clone());
    // A map's order means nothing.
    for node in [&mut node, &mut expected] {
        node.metadata.sort_by(|a, b| a.0.cmp(&b.0));
    }
    assert_eq!(node, expected);
    assert_eq!(again.admin, written.admin);
    assert_eq!(again.mesh, written.mesh);
    assert_eq!(again.clusters, written.clusters);
    assert_eq!(again.listeners, written.listeners);
    assert_eq!((again.udp_listeners.len(), &again.udp_listeners), (2, &written.udp_listeners));
}

/// The configuration file that says what a dump says.
fn as_bootstrap(dump: &Value) -> Value {
    let [bootstrap, clusters, listeners, _routes] = dump["configs"].as_array().unwrap().as_slice() else {
        panic!("four parts expected")
    };
    let pick = |part: &Value, list: &str, key: &str| -> Vec<Value> {
        let resource = |entry: &Value| {
            let mut resource = entry[key].clone();
            // It says what it is, which a file does not.
            assert!(resource.as_object_mut().unwrap().remove("@type").is_some());
            resource
        };
        part[list].as_array().unwrap().iter().map(resource).collect()
    };
    let mut file = bootstrap["bootstrap"].clone();
    file["mesh"] = dump["mesh"].clone();
    // Whom things come from is not dumped; without anybody nothing can come on demand.
    let ads = json!({ "ads": {}, "resource_api_version": "V3" });
    let server = json!({ "google_grpc": { "target_uri": "plane:15010", "stat_prefix": "xds" } });
    file["dynamic_resources"] = json!({
        "ads_config": { "api_type": "DELTA_GRPC", "transport_api_version": "V3", "grpc_services": [server] },
        "cds_config": ads,
    });
    file["static_resources"] = json!({
        "clusters": pick(clusters, "static_clusters", "cluster"),
        "listeners": pick(listeners, "static_listeners", "listener"),
    });
    file
}

fn read(text: &str) -> Config {
    // What the configuration names of the host does not matter here.
    file::parse(text, |_| Vec::new()).unwrap_or_else(|errors| panic!("{errors:#?}\n{text}"))
}
