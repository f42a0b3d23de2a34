//! Where a cluster's endpoints are (`envoy.config.endpoint.v3.ClusterLoadAssignment`).
//!
//! Localities are flattened: without weights and priorities, which are refused, Envoy treats the endpoints of all of them alike.

use std::sync::Arc;

use crate::decode::address::{ADDRESS, address, dns_address};
use crate::decode::fields::Fields;
use crate::model::cluster::{Assignment, DnsHost, Endpoint};

pub(crate) const ASSIGNMENT: &str = "envoy.config.endpoint.v3.ClusterLoadAssignment";
const LOCALITY_ENDPOINTS: &str = "envoy.config.endpoint.v3.LocalityLbEndpoints";
const LOCALITY: &str = "envoy.config.core.v3.Locality";
const LB_ENDPOINT: &str = "envoy.config.endpoint.v3.LbEndpoint";
const ENDPOINT: &str = "envoy.config.endpoint.v3.Endpoint";

const LATER: &str = "it comes with EDS in full";

/// Endpoints by address, or by name.
#[derive(Debug)]
pub(crate) enum Sites {
    Addresses(Vec<Endpoint>),
    Names(Vec<DnsHost>),
}

/// The endpoints of a cluster as a resource of their own.
pub(crate) fn assignment(fields: &Fields<'_>) -> Option<Assignment> {
    let name = fields.text("cluster_name").map(Arc::from);
    match load_assignment(fields, false)? {
        Sites::Addresses(endpoints) => Some(Assignment { name: name?, endpoints }),
        Sites::Names(_) => None,
    }
}

/// The endpoints; `names` if they may be DNS names.
pub(crate) fn load_assignment(fields: &Fields<'_>, names: bool) -> Option<Sites> {
    fields.require_text("cluster_name");
    fields.refuse("policy", LATER);
    fields.refuse("named_endpoints", LATER);
    let mut sites = if names { Sites::Names(Vec::new()) } else { Sites::Addresses(Vec::new()) };
    let mut total = 0u64;
    fields.messages("endpoints", LOCALITY_ENDPOINTS, |fields| {
        fields.message("locality", LOCALITY, |fields| {
            for name in ["region", "zone", "sub_zone"] {
                fields.text(name);
            }
            Some(())
        });
        fields.only_zero("priority");
        fields.refuse("load_balancing_weight", LATER);
        fields.refuse("proximity", LATER);
        fields.refuse("leds_cluster_locality_config", LATER);
        fields.messages("lb_endpoints", LB_ENDPOINT, |fields| {
            total += u64::from(lb_endpoint(fields, &mut sites));
            Some(())
        });
        Some(())
    });
    if total > u32::MAX.into() {
        fields.at().rule("the weights of the endpoints sum to more than 4294967295");
    }
    Some(sites)
}

/// Adds an endpoint to `sites` and answers its weight.
fn lb_endpoint(fields: &Fields<'_>, sites: &mut Sites) -> u32 {
    let weight = fields.number("load_balancing_weight", 1..=u32::MAX).unwrap_or(1);
    fields.only_choice("health_status", "HEALTHY", 1);
    fields.require_one_of(&["endpoint"], &[("endpoint_name", LATER)]);
    fields.message("endpoint", ENDPOINT, |fields| {
        fields.refuse("health_check_config", "there are no health checks yet");
        fields.refuse("additional_addresses", LATER);
        match sites {
            Sites::Addresses(endpoints) => {
                let hostname = fields.text("hostname").map(str::to_owned);
                let address = fields.require_message("address", ADDRESS, address)?;
                endpoints.push(Endpoint { address, weight, hostname });
            }
            Sites::Names(hosts) => {
                fields.refuse("hostname", "the name of a STRICT_DNS endpoint is its address");
                let (host, port) = fields.require_message("address", ADDRESS, dns_address)?;
                hosts.push(DnsHost { host, port, weight });
            }
        }
        Some(())
    });
    weight
}
