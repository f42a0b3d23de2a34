//! `/clusters`, as Envoy writes it: the lines and fields that mean something here.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::model::endpoint::{Endpoint, Health};
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
            line(format_args!("{name}::{address}::health_flags::{}", flags(endpoint.health)));
            line(format_args!("{name}::{address}::weight::{}", endpoint.weight));
            let (group, locality) = (&endpoint.group, &endpoint.group.locality);
            line(format_args!("{name}::{address}::region::{}", locality.region));
            line(format_args!("{name}::{address}::zone::{}", locality.zone));
            line(format_args!("{name}::{address}::sub_zone::{}", locality.sub_zone));
            line(format_args!("{name}::{address}::priority::{}", group.priority));
        }
    }
    text
}

/// `envoy.admin.v3.Clusters`.
pub(super) fn json(snapshot: &Snapshot) -> Value {
    let statuses = snapshot.clusters().map(|cluster| {
        json!({
            "name": cluster.name().as_str(),
            "observability_name": cluster.name().as_str(),
            "added_via_api": false,
            "host_statuses": cluster.endpoints.endpoints.iter().map(|it| host(it)).collect::<Vec<_>>(),
        })
    });
    json!({ "cluster_statuses": statuses.collect::<Vec<_>>() })
}

fn host(endpoint: &Endpoint) -> Value {
    let locality = &endpoint.group.locality;
    // Where nobody says, Envoy shows what it comes to.
    let health = if endpoint.health == Health::Unknown { Health::Healthy } else { endpoint.health };
    json!({
        "address": { "socket_address": {
            "address": endpoint.address.ip().to_string(),
            "port_value": endpoint.address.port(),
        }},
        "health_status": { "eds_health_status": health.name() },
        "weight": endpoint.weight,
        "priority": endpoint.group.priority,
        "locality": { "region": locality.region, "zone": locality.zone, "sub_zone": locality.sub_zone },
        "hostname": endpoint.hostname.as_deref().unwrap_or_default(),
    })
}

/// As Envoy names them.
fn flags(health: Health) -> &'static str {
    match health {
        Health::Unknown | Health::Healthy => "healthy",
        Health::Degraded => "/degraded_eds_health",
        Health::Draining => "/eds_status_draining",
        Health::Unhealthy | Health::Timeout => "/failed_eds_health",
    }
}
