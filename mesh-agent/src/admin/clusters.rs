//! `/clusters`, as Envoy writes it: the lines and fields that mean something here.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::snapshot::Snapshot;

/// `name::key::value` and `name::address::key::value` lines.
pub(super) fn text(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    let mut line = |args: std::fmt::Arguments<'_>| writeln!(text, "{args}").expect("a String takes any text");
    for cluster in snapshot.clusters() {
        let name = cluster.name();
        line(format_args!("{name}::observability_name::{name}"));
        line(format_args!("{name}::added_via_api::false"));
        for endpoint in &cluster.endpoints.endpoints {
            let address = endpoint.address;
            line(format_args!("{name}::{address}::hostname::{}", endpoint.hostname.as_deref().unwrap_or_default()));
            line(format_args!("{name}::{address}::health_flags::healthy"));
            line(format_args!("{name}::{address}::weight::{}", endpoint.weight));
            line(format_args!("{name}::{address}::priority::0"));
        }
    }
    text
}

/// `envoy.admin.v3.Clusters`.
pub(super) fn json(snapshot: &Snapshot) -> Value {
    let statuses = snapshot.clusters().map(|cluster| {
        let hosts = cluster.endpoints.endpoints.iter().map(|endpoint| {
            json!({
                "address": { "socket_address": {
                    "address": endpoint.address.ip().to_string(),
                    "port_value": endpoint.address.port(),
                }},
                "health_status": { "eds_health_status": "HEALTHY" },
                "weight": endpoint.weight,
                "hostname": endpoint.hostname.as_deref().unwrap_or_default(),
            })
        });
        json!({
            "name": cluster.name().as_str(),
            "observability_name": cluster.name().as_str(),
            "added_via_api": false,
            "host_statuses": hosts.collect::<Vec<_>>(),
        })
    });
    json!({ "cluster_statuses": statuses.collect::<Vec<_>>() })
}
