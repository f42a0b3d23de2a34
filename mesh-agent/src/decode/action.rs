//! What a route does with a request: forward, redirect or answer it.

use bytes::Bytes;
use http::StatusCode;

use crate::decode::fields::Fields;
use crate::decode::http::upgrade_type;
use crate::decode::kind::Kind;
use crate::decode::route::{LATER, header_changes};
use crate::decode::route_match::header_name;
use crate::decode::tcp::{check_weights, cluster_name, require_cluster_name};
use crate::decode::unique::Unique;
use crate::model::filter::WeightedCluster;
use crate::model::route::{
    DirectResponse, Forward, HostRewrite, IdleTimeout, PathRewrite, Redirect, RedirectPath, RedirectScheme,
};

pub(crate) const ROUTE_ACTION: &str = "envoy.config.route.v3.RouteAction";
pub(crate) const REDIRECT: &str = "envoy.config.route.v3.RedirectAction";
pub(crate) const DIRECT_RESPONSE: &str = "envoy.config.route.v3.DirectResponseAction";
const WEIGHTED: &str = "envoy.config.route.v3.WeightedCluster";
const WEIGHT: &str = "envoy.config.route.v3.WeightedCluster.ClusterWeight";
const UPGRADE: &str = "envoy.config.route.v3.RouteAction.UpgradeConfig";
const DATA_SOURCE: &str = "envoy.config.core.v3.DataSource";

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);
/// Envoy's default of `max_direct_response_body_size_bytes`.
const LARGEST_BODY: usize = 4096;

pub(crate) fn forward(fields: &Fields<'_>) -> Option<Forward> {
    fields.require_one_of(
        &["cluster", "weighted_clusters"],
        &[("cluster_header", LATER), ("cluster_specifier_plugin", LATER), ("inline_cluster_specifier_plugin", LATER)],
    );
    let one = cluster_name(fields, "cluster").map(|name| vec![WeightedCluster { name, weight: 1 }]);
    let many = fields.message("weighted_clusters", WEIGHTED, weighted);
    let host = host_rewrite(fields);
    fields.one_of(
        &["prefix_rewrite"],
        &[("regex_rewrite", LATER), ("path_rewrite_policy", LATER), ("path_rewrite", LATER)],
    );
    let path = fields.header_value("prefix_rewrite").map_or(PathRewrite::Keep, PathRewrite::Prefix);
    let idle_timeout = match fields.duration("idle_timeout") {
        None => IdleTimeout::Inherit,
        Some(timeout) if timeout.is_zero() => IdleTimeout::Never,
        Some(timeout) => IdleTimeout::After(timeout),
    };
    let taken = Unique::new("upgrade");
    let upgrades = fields.messages("upgrade_configs", UPGRADE, |fields| {
        Some((upgrade_type(fields, &taken)?, fields.flag("enabled", true)))
    });
    let cluster_not_found = fields.choice(
        "cluster_not_found_response_code",
        &[
            ("SERVICE_UNAVAILABLE", 0, StatusCode::SERVICE_UNAVAILABLE),
            ("NOT_FOUND", 1, StatusCode::NOT_FOUND),
            ("INTERNAL_SERVER_ERROR", 2, StatusCode::INTERNAL_SERVER_ERROR),
        ],
    );
    let timeout = fields.limit("timeout", Some(TIMEOUT));
    fields.only_flag("append_x_forwarded_host", false);
    fields.only_choice("priority", "DEFAULT", 0);
    for name in ["retry_policy", "request_mirror_policies", "hash_policy", "rate_limits", "max_stream_duration", "cors"]
    {
        fields.refuse(name, LATER);
    }
    Some(Forward { clusters: one.or(many)?, timeout, idle_timeout, host, path, upgrades, cluster_not_found })
}

fn weighted(fields: &Fields<'_>) -> Option<Vec<WeightedCluster>> {
    let clusters = fields.messages("clusters", WEIGHT, |fields| {
        fields.refuse("cluster_header", LATER);
        let name = require_cluster_name(fields, "name");
        let kind = Kind::Integer(0, u32::MAX.into());
        let weight = fields.require("weight", &kind).and_then(|at| at.integer(0, u32::MAX.into()));
        header_changes(fields);
        Some(WeightedCluster { name: name?, weight: u32::try_from(weight?).ok()? })
    });
    check_weights(fields, &clusters);
    // Deprecated, without effect in Envoy: the weights' sum is what counts. Anything else would be misleading.
    let total: u64 = clusters.iter().map(|cluster| u64::from(cluster.weight)).sum();
    if let Some(written) = fields.number("total_weight", 1..=u32::MAX)
        && u64::from(written) != total
        && let Some(at) = fields.get("total_weight", &Kind::Integer(1, u32::MAX.into()))
    {
        at.rule("is not the sum of the weights; leave it out");
    }
    Some(clusters)
}

fn host_rewrite(fields: &Fields<'_>) -> HostRewrite {
    fields.one_of(
        &["host_rewrite_literal", "auto_host_rewrite", "host_rewrite_header"],
        &[("host_rewrite_path_regex", LATER), ("host_rewrite", LATER)],
    );
    let literal = fields.header_value("host_rewrite_literal").map(HostRewrite::Literal);
    let auto = fields.flag("auto_host_rewrite", false).then_some(HostRewrite::Auto);
    let header = fields.text("host_rewrite_header");
    let header = header.and_then(|name| header_name(fields, "host_rewrite_header", name)).map(HostRewrite::Header);
    literal.or(auto).or(header).unwrap_or_default()
}

pub(crate) fn redirect(fields: &Fields<'_>) -> Option<Redirect> {
    fields.one_of(&["https_redirect", "scheme_redirect"], &[]);
    let https = fields.flag("https_redirect", false).then_some(RedirectScheme::Https);
    let scheme = fields.header_value("scheme_redirect").map(RedirectScheme::Literal);
    fields.one_of(&["path_redirect", "prefix_rewrite"], &[("regex_rewrite", LATER)]);
    let path = fields.header_value("path_redirect").map(RedirectPath::Replace);
    let prefix = fields.header_value("prefix_rewrite").map(RedirectPath::Prefix);
    Some(Redirect {
        status: fields.choice(
            "response_code",
            &[
                ("MOVED_PERMANENTLY", 0, StatusCode::MOVED_PERMANENTLY),
                ("FOUND", 1, StatusCode::FOUND),
                ("SEE_OTHER", 2, StatusCode::SEE_OTHER),
                ("TEMPORARY_REDIRECT", 3, StatusCode::TEMPORARY_REDIRECT),
                ("PERMANENT_REDIRECT", 4, StatusCode::PERMANENT_REDIRECT),
            ],
        ),
        scheme: https.or(scheme).unwrap_or_default(),
        host: fields.header_value("host_redirect"),
        // 0 is protobuf's way of not setting it.
        port: fields.number("port_redirect", 0..=65535).and_then(|port| u16::try_from(port).ok()).filter(|p| *p != 0),
        path: path.or(prefix).unwrap_or_default(),
        strip_query: fields.flag("strip_query", false),
    })
}

pub(crate) fn direct_response(fields: &Fields<'_>) -> Option<DirectResponse> {
    let kind = Kind::Integer(200, 599);
    let status = fields.require("status", &kind).and_then(|at| at.integer(200, 599));
    let body = fields.message("body", DATA_SOURCE, data_source);
    fields.refuse("body_format", LATER);
    let status = u16::try_from(status?).ok().and_then(|status| StatusCode::from_u16(status).ok());
    Some(DirectResponse { status: status?, body: body.unwrap_or_default() })
}

/// Bytes written in the configuration itself.
fn data_source(fields: &Fields<'_>) -> Option<Bytes> {
    const ELSEWHERE: &str = "write inline_string or inline_bytes";
    fields.require_one_of(
        &["inline_string", "inline_bytes"],
        &[("filename", ELSEWHERE), ("environment_variable", ELSEWHERE)],
    );
    let text = fields.get("inline_string", &Kind::Text).and_then(|at| at.text()).map(|text| text.to_owned().into());
    let bytes = fields.get("inline_bytes", &Kind::Base64).and_then(|at| at.bytes()).map(Bytes::from);
    let body: Bytes = text.or(bytes)?;
    if body.len() > LARGEST_BODY {
        fields.at().rule("must not be longer than 4096 bytes");
    }
    Some(body)
}
