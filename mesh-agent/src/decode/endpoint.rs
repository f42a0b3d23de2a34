//! Where a cluster's endpoints are (`envoy.config.endpoint.v3.ClusterLoadAssignment`).
//!
//! Metadata only labels: what would act on it (subsets, matches of transport sockets, logs) is refused where it is configured, so
//! labels are taken whatever they are, and left unread but for `hash_key`, which acts by itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decode::address::{ADDRESS, address, dns_address};
use crate::decode::fields::Fields;
use crate::decode::fraction::{FRACTIONAL, fractional_percent};
use crate::decode::kind::Kind;
use crate::decode::node::Value;
use crate::model::cluster::Assignment;
use crate::model::endpoint::{AssignmentPolicy, DnsHost, Endpoint, Group, Health, Locality, Roster};

pub(crate) const ASSIGNMENT: &str = "envoy.config.endpoint.v3.ClusterLoadAssignment";
const POLICY: &str = "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy";
const DROP: &str = "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.DropOverload";
const LOCALITY_ENDPOINTS: &str = "envoy.config.endpoint.v3.LocalityLbEndpoints";
const LOCALITY: &str = "envoy.config.core.v3.Locality";
const LB_ENDPOINT: &str = "envoy.config.endpoint.v3.LbEndpoint";
const ENDPOINT: &str = "envoy.config.endpoint.v3.Endpoint";
const METADATA: &str = "envoy.config.core.v3.Metadata";

const LATER: &str = "it comes with EDS";
const LOWEST_PRIORITY: u32 = 128;

/// Endpoints by address, or by name.
#[derive(Debug)]
pub(crate) enum Sites {
    Addresses(Roster<Endpoint>),
    Names(Roster<DnsHost>),
}

/// The endpoints of a cluster as a resource of their own.
pub(crate) fn assignment(fields: &Fields<'_>) -> Option<Assignment> {
    let name = fields.text("cluster_name").map(Arc::from);
    match load_assignment(fields, false)? {
        Sites::Addresses(roster) => Some(Assignment { name: name?, roster }),
        Sites::Names(_) => None,
    }
}

/// The endpoints; `names` if they may be DNS names.
pub(crate) fn load_assignment(fields: &Fields<'_>, names: bool) -> Option<Sites> {
    fields.require_text("cluster_name");
    fields.refuse("named_endpoints", LATER);
    let policy = fields.message("policy", POLICY, policy).unwrap_or_default();
    let mut sites = if names {
        Sites::Names(Roster { endpoints: Vec::new(), policy })
    } else {
        Sites::Addresses(Roster { endpoints: Vec::new(), policy })
    };
    let mut total = 0u64;
    let mut localities: BTreeMap<(u32, Locality), u32> = BTreeMap::new();
    fields.messages("endpoints", LOCALITY_ENDPOINTS, |fields| {
        let group = Arc::new(group(fields));
        localities.insert((group.priority, group.locality.clone()), group.weight);
        fields.refuse("proximity", LATER);
        fields.refuse("leds_cluster_locality_config", LATER);
        fields.messages("lb_endpoints", LB_ENDPOINT, |fields| {
            total += u64::from(lb_endpoint(fields, &group, &mut sites));
            Some(())
        });
        Some(())
    });
    if total > u32::MAX.into() {
        fields.at().rule("the weights of the endpoints sum to more than 4294967295");
    }
    let mut levels: BTreeMap<u32, u64> = BTreeMap::new();
    for ((priority, _), weight) in localities {
        *levels.entry(priority).or_default() += u64::from(weight);
    }
    if levels.values().any(|total| *total > u32::MAX.into()) {
        fields.at().rule("the weights of a priority's localities sum to more than 4294967295");
    }
    Some(sites)
}

fn policy(fields: &Fields<'_>) -> Option<AssignmentPolicy> {
    let default = AssignmentPolicy::default();
    let drops = fields.messages("drop_overloads", DROP, |fields| {
        fields.require_text("category");
        Some(fields.message("drop_percentage", FRACTIONAL, fractional_percent).unwrap_or(0))
    });
    if drops.len() > 1
        && let Some(at) = fields.get("drop_overloads", &Kind::list(Kind::Message(DROP)))
    {
        at.rule("only one category is supported, as in Envoy");
    }
    let overprovisioning = fields.number("overprovisioning_factor", 1..=u32::MAX);
    fields.refuse("endpoint_stale_after", LATER);
    Some(AssignmentPolicy {
        overprovisioning: overprovisioning.unwrap_or(default.overprovisioning),
        weighted_health: fields.flag("weighted_priority_health", false),
        drop_per_million: drops.first().copied().unwrap_or(0),
    })
}

fn group(fields: &Fields<'_>) -> Group {
    let locality = fields.message("locality", LOCALITY, |fields| {
        let part = |name| fields.text(name).unwrap_or_default().to_owned();
        Some(Locality { region: part("region"), zone: part("zone"), sub_zone: part("sub_zone") })
    });
    metadata(fields);
    let priority = fields.number("priority", 0..=LOWEST_PRIORITY).unwrap_or(0);
    let weight = fields.number("load_balancing_weight", 1..=u32::MAX).unwrap_or(0);
    // As in Envoy, only what has a name has a weight.
    let weight = if locality.is_some() { weight } else { 0 };
    Group { locality: locality.unwrap_or_default(), priority, weight }
}

/// Adds an endpoint to `sites` and answers its weight.
fn lb_endpoint(fields: &Fields<'_>, group: &Arc<Group>, sites: &mut Sites) -> u32 {
    let weight = fields.number("load_balancing_weight", 1..=u32::MAX).unwrap_or(1);
    let health = fields.choice(
        "health_status",
        &[
            ("UNKNOWN", 0, Health::Unknown),
            ("HEALTHY", 1, Health::Healthy),
            ("UNHEALTHY", 2, Health::Unhealthy),
            ("DRAINING", 3, Health::Draining),
            ("TIMEOUT", 4, Health::Timeout),
            ("DEGRADED", 5, Health::Degraded),
        ],
    );
    let hash_key = metadata(fields);
    fields.require_one_of(&["endpoint"], &[("endpoint_name", LATER)]);
    fields.message("endpoint", ENDPOINT, |fields| {
        fields.refuse("health_check_config", "there are no health checks yet");
        fields.refuse("additional_addresses", LATER);
        let group = Arc::clone(group);
        match sites {
            Sites::Addresses(assignment) => {
                let hostname = fields.text("hostname").map(str::to_owned);
                let address = fields.require_message("address", ADDRESS, address)?;
                assignment.endpoints.push(Endpoint {
                    address,
                    weight,
                    hostname,
                    health,
                    hash_key: hash_key.clone(),
                    group,
                });
            }
            Sites::Names(assignment) => {
                fields.refuse("hostname", "the name of a STRICT_DNS endpoint is its address");
                let (host, port) = fields.require_message("address", ADDRESS, dns_address)?;
                assignment.endpoints.push(DnsHost { host, port, weight, health, hash_key: hash_key.clone(), group });
            }
        }
        Some(())
    });
    weight
}

/// Labels, of which one means something here: the name by which an endpoint takes slots of a table.
fn metadata(fields: &Fields<'_>) -> Option<String> {
    fields.message("metadata", METADATA, |fields| {
        let mut hash_key = None;
        for labels in ["filter_metadata", "typed_filter_metadata"] {
            fields.free_map(labels, Kind::Label, |filter, at| {
                let written = at.entries("labels").unwrap_or_default();
                let key = written.iter().find(|entry| (filter, &*entry.key) == ("envoy.lb", "hash_key"));
                if let Some(Value::Text(key)) = key.map(|entry| &entry.value.value) {
                    hash_key = Some(key.clone()).filter(|key| !key.is_empty());
                }
            });
        }
        hash_key
    })
}
