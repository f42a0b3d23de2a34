//! The TCP proxy (`envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`), and clusters with weights.

use crate::decode::fields::Fields;
use crate::decode::kind::Kind;
use crate::model::filter::{DEFAULT_IDLE_TIMEOUT, TcpProxy, WeightedCluster};
use crate::model::name::ClusterName;

pub(crate) const TCP_PROXY: &str = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
const WEIGHTED: &str = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster";
const HASH_POLICY: &str = "envoy.type.v3.HashPolicy";
const SOURCE_IP: &str = "envoy.type.v3.HashPolicy.SourceIp";
const WEIGHT: &str = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight";

pub(crate) fn tcp_proxy(fields: &Fields<'_>) -> Option<TcpProxy> {
    let stat_prefix = fields.require_text("stat_prefix").map(str::to_owned);
    fields.require_one_of(&["cluster", "weighted_clusters"], &[]);
    let one = cluster_name(fields, "cluster").map(|name| vec![WeightedCluster { name, weight: 1 }]);
    let many = fields.message("weighted_clusters", WEIGHTED, |fields| {
        let clusters = fields.messages("clusters", WEIGHT, |fields| {
            let name = require_cluster_name(fields, "name");
            let weight = fields.number("weight", 1..=u32::MAX);
            if fields.get("weight", &Kind::Integer(1, u32::MAX.into())).is_none() {
                fields.missing("weight");
            }
            Some(WeightedCluster { name: name?, weight: weight? })
        });
        check_weights(fields, &clusters);
        Some(clusters)
    });
    let idle_timeout = fields.limit("idle_timeout", Some(DEFAULT_IDLE_TIMEOUT));
    fields.refuse("access_log", "there are no access logs yet");
    fields.refuse("tunneling_config", "it is not there yet");
    let by_client = hash_policy(fields);
    fields.refuse("max_connect_attempts", "a connection is tried once");
    Some(TcpProxy { stat_prefix: stat_prefix?, clusters: one.or(many)?, by_client, idle_timeout })
}

/// Whether the client's address shall choose the endpoint.
fn hash_policy(fields: &Fields<'_>) -> bool {
    let policies = fields.messages("hash_policy", HASH_POLICY, |fields| {
        fields.require_one_of(&["source_ip"], &[("filter_state", "no filter leaves a state")])?;
        fields.message("source_ip", SOURCE_IP, |_| Some(()))
    });
    if policies.len() > 1
        && let Some(at) = fields.get("hash_policy", &Kind::list(Kind::Message(HASH_POLICY)))
    {
        at.rule("at most one");
    }
    !policies.is_empty()
}

/// The name of a cluster that must exist.
pub(crate) fn cluster_name(fields: &Fields<'_>, name: &'static str) -> Option<ClusterName> {
    let at = fields.get(name, &Kind::Text)?;
    let cluster = ClusterName::from(fields.name(name)?);
    at.context.wanted_clusters.borrow_mut().push((cluster.clone(), at.place()));
    Some(cluster)
}

/// The same, and an error if it is not set.
pub(crate) fn require_cluster_name(fields: &Fields<'_>, name: &'static str) -> Option<ClusterName> {
    fields.require_text(name)?;
    cluster_name(fields, name)
}

/// Checks that the weights make a choice. Envoy counts in 32 bits as well.
pub(crate) fn check_weights(fields: &Fields<'_>, clusters: &[WeightedCluster]) {
    let Some(at) = fields.get("clusters", &Kind::list(Kind::Text)) else {
        return fields.missing("clusters");
    };
    let Some(written) = at.list() else { return };
    let total: u64 = clusters.iter().map(|cluster| u64::from(cluster.weight)).sum();
    if written.is_empty() {
        fields.missing("clusters");
    } else if total > u32::MAX.into() {
        at.rule("the weights sum to more than 4294967295");
    } else if total == 0 && clusters.len() == written.len() {
        at.rule("the weights sum to 0");
    }
}
