//! `envoy.config.endpoint.v3.ClusterLoadAssignment`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::admin::dump::address;
use crate::admin::dump::object::Object;
use crate::model::endpoint::{AssignmentPolicy, DnsHost, Endpoint, Group, Health, Locality, Roster};
use crate::snapshot::EndpointSet;

/// What an endpoint is, where it stands, and what is said of it.
pub(super) struct Written {
    endpoint: Value,
    group: Arc<Group>,
    weight: u32,
    health: Health,
    hash_key: Option<String>,
}

/// The endpoints, those that stand together in one group as they were written.
pub(super) fn assignment<E>(name: &str, assignment: &Roster<E>, each: fn(&E) -> Written) -> Value {
    let object =
        Object::default().set("cluster_name", name).set("endpoints", groups(assignment.endpoints.iter().map(each)));
    object.maybe("policy", policy(assignment.policy)).done()
}

/// The endpoints that are in use, wherever they came from.
pub(super) fn in_use(name: &str, set: &EndpointSet) -> Value {
    let written = set.endpoints.iter().map(|it| endpoint(it));
    let dropped = (set.drop_per_million > 0).then(|| json!({ "drop_overloads": drop(set.drop_per_million) }));
    Object::default().set("cluster_name", name).set("endpoints", groups(written)).maybe("policy", dropped).done()
}

fn groups(written: impl Iterator<Item = Written>) -> Vec<Value> {
    let written: Vec<_> = written.collect();
    written.chunk_by(|one, next| Arc::ptr_eq(&one.group, &next.group)).map(group).collect()
}

pub(super) fn endpoint(endpoint: &Endpoint) -> Written {
    let inner = Object::default()
        .set("address", address(endpoint.address))
        .text("hostname", endpoint.hostname.as_deref().unwrap_or_default());
    let Endpoint { weight, health, ref group, ref hash_key, .. } = *endpoint;
    Written { endpoint: inner.done(), group: Arc::clone(group), weight, health, hash_key: hash_key.clone() }
}

pub(super) fn dns_host(host: &DnsHost) -> Written {
    let address = json!({ "socket_address": { "address": host.host, "port_value": host.port } });
    let DnsHost { weight, health, ref group, ref hash_key, .. } = *host;
    let endpoint = json!({ "address": address });
    Written { endpoint, group: Arc::clone(group), weight, health, hash_key: hash_key.clone() }
}

fn group(endpoints: &[Written]) -> Value {
    let one = |it: &Written| {
        let health = (it.health != Health::Unknown).then(|| it.health.name());
        let object = Object::default().set("endpoint", it.endpoint.clone()).set("load_balancing_weight", it.weight);
        let key = it.hash_key.as_ref().map(|key| json!({ "filter_metadata": { "envoy.lb": { "hash_key": key } } }));
        object.maybe("health_status", health).maybe("metadata", key).done()
    };
    let group = &endpoints[0].group;
    Object::default()
        .maybe("locality", locality(&group.locality))
        .maybe("priority", (group.priority > 0).then_some(group.priority))
        .maybe("load_balancing_weight", (group.weight > 0).then_some(group.weight))
        .list("lb_endpoints", endpoints, one)
        .done()
}

/// `envoy.config.core.v3.Locality`; none if all of it is empty.
fn locality(locality: &Locality) -> Option<Value> {
    let object = Object::default().text("region", &locality.region).text("zone", &locality.zone);
    (*locality != Locality::default()).then(|| object.text("sub_zone", &locality.sub_zone).done())
}

fn policy(policy: AssignmentPolicy) -> Option<Value> {
    let default = AssignmentPolicy::default();
    (policy != default).then(|| {
        Object::default()
            .maybe("drop_overloads", (policy.drop_per_million > 0).then(|| drop(policy.drop_per_million)))
            .set("overprovisioning_factor", policy.overprovisioning)
            .maybe("weighted_priority_health", policy.weighted_health.then_some(true))
            .done()
    })
}

fn drop(per_million: u32) -> Value {
    let percentage = json!({ "numerator": per_million, "denominator": "MILLION" });
    json!([{ "category": "drop", "drop_percentage": percentage }])
}
