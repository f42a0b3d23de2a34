//! The HTTP connection manager (`envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`).

use std::sync::Arc;
use std::time::Duration;

use crate::decode::fields::Fields;
use crate::decode::http_options::{
    COMMON, Common, HTTP_FILTER, HTTP1, HTTP2, common_options, http_filters, http1_options, http2_options,
};
use crate::decode::kind::Kind;
use crate::decode::management::{CONFIG_SOURCE, config_source};
use crate::decode::route::{ROUTE_CONFIGURATION, route_configuration};
use crate::decode::scope::{SCOPED_ROUTES, scoped_routes};
use crate::decode::unique::Unique;
use crate::model::filter::{Codec, HttpConnectionManager, Rds, RouteSource, ServerHeader};
use crate::model::name::RouteConfigName;

pub(crate) const HTTP_CONNECTION_MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const UPGRADE: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig";

const RDS: &str = "envoy.extensions.filters.network.http_connection_manager.v3.Rds";

const SERVER_NAME: &str = "bowline";
const STREAM_IDLE: Duration = Duration::from_secs(300);
const REQUEST_HEADERS_KB: u32 = 60;

pub(crate) fn http_connection_manager(fields: &Fields<'_>) -> Option<HttpConnectionManager> {
    let stat_prefix = fields.require_text("stat_prefix").map(str::to_owned);
    fields.require_one_of(&["route_config", "rds", "scoped_routes"], &[]);
    let inline = fields.message("route_config", ROUTE_CONFIGURATION, |fields| route_configuration(fields, true));
    let discovered = fields.message("rds", RDS, rds);
    let routes = inline.map(|routes| RouteSource::Inline(Arc::new(routes)));
    let scoped = fields.message("scoped_routes", SCOPED_ROUTES, scoped_routes);
    let routes = routes.or(discovered.map(RouteSource::Discovered));
    let routes = routes.or(scoped.map(|scoped| RouteSource::Scoped(Arc::new(scoped))));
    let codecs = [("AUTO", 0, Codec::Auto), ("HTTP1", 1, Codec::Http1), ("HTTP2", 2, Codec::Http2)];
    let codec = fields.choice_or_later("codec_type", &codecs, &[("HTTP3", 3, "HTTP/3 needs QUIC")]).unwrap_or_default();
    let (router, on_demand) = http_filters(fields, HTTP_FILTER);
    let Common { idle_timeout, max_headers_count } =
        fields.message("common_http_protocol_options", COMMON, common_options).unwrap_or_default();
    let http1 = fields.message("http_protocol_options", HTTP1, http1_options).unwrap_or_default();
    let http2 = fields.message("http2_protocol_options", HTTP2, http2_options).unwrap_or_default();
    let upgrades = upgrades(fields);
    only_defaults(fields);
    Some(HttpConnectionManager {
        stat_prefix: stat_prefix.unwrap_or_default(),
        codec,
        server_name: fields.header_value("server_name").unwrap_or_else(|| SERVER_NAME.to_owned()),
        server_header: fields.choice(
            "server_header_transformation",
            &[
                ("OVERWRITE", 0, ServerHeader::Overwrite),
                ("APPEND_IF_ABSENT", 1, ServerHeader::AppendIfAbsent),
                ("PASS_THROUGH", 2, ServerHeader::PassThrough),
            ],
        ),
        via: fields.header_value("via"),
        use_remote_address: fields.flag("use_remote_address", false),
        xff_num_trusted_hops: fields.number("xff_num_trusted_hops", 0..=u32::MAX).unwrap_or(0),
        skip_xff_append: fields.flag("skip_xff_append", false),
        generate_request_id: fields.flag("generate_request_id", true),
        preserve_external_request_id: fields.flag("preserve_external_request_id", false),
        always_set_request_id_in_response: fields.flag("always_set_request_id_in_response", false),
        max_request_headers_kb: fields.number("max_request_headers_kb", 1..=8192).unwrap_or(REQUEST_HEADERS_KB),
        max_headers_count,
        idle_timeout,
        stream_idle_timeout: fields.limit("stream_idle_timeout", Some(STREAM_IDLE)),
        request_timeout: fields.limit("request_timeout", None),
        request_headers_timeout: fields.limit("request_headers_timeout", None),
        upgrades,
        normalize_path: fields.flag("normalize_path", false),
        merge_slashes: fields.flag("merge_slashes", false),
        accept_http_10: http1.accept_http_10,
        http1_trailers: http1.trailers,
        http2,
        on_demand,
        // Last: without these there is nothing, but everything else has been looked at.
        routes: routes?,
        router: router?,
    })
}

fn rds(fields: &Fields<'_>) -> Option<Rds> {
    let source = fields.require_message("config_source", CONFIG_SOURCE, config_source);
    fields.require_text("route_config_name");
    let name = fields.name("route_config_name").map(RouteConfigName::from);
    Some(Rds { name: name?, source: source? })
}

fn upgrades(fields: &Fields<'_>) -> Vec<String> {
    let taken = Unique::new("upgrade");
    let upgrades = fields.messages("upgrade_configs", UPGRADE, |fields| {
        let upgrade = upgrade_type(fields, &taken)?;
        fields.refuse("filters", "the filters of the connection manager apply");
        Some((upgrade, fields.flag("enabled", true)))
    });
    upgrades.into_iter().filter_map(|(upgrade, enabled)| enabled.then_some(upgrade)).collect()
}

/// The name of an upgrade in lower case, here and in a route.
pub(crate) fn upgrade_type(fields: &Fields<'_>, taken: &Unique) -> Option<String> {
    let upgrade = fields.require_text("upgrade_type").map(str::to_ascii_lowercase);
    if let (Some(upgrade), Some(at)) = (&upgrade, fields.get("upgrade_type", &Kind::Text)) {
        taken.claim(upgrade.clone(), &at);
        if upgrade == "connect" || upgrade == "connect-udp" {
            at.rule("CONNECT is not proxied");
        }
    }
    Some(upgrade.unwrap_or_default())
}

/// Fields that may say what the agent does anyway, and those that have a reason for not being there.
fn only_defaults(fields: &Fields<'_>) {
    for name in [
        "strip_matching_host_port",
        "strip_any_host_port",
        "strip_trailing_host_dot",
        "proxy_100_continue",
        "represent_ipv4_remote_address_as_ipv4_mapped_ipv6",
        "append_x_forwarded_port",
        "stream_error_on_invalid_http_message",
        "add_user_agent",
    ] {
        fields.only_flag(name, false);
    }
    fields.only_choice("path_with_escaped_slashes_action", "KEEP_UNCHANGED", 1);
    fields.only_choice("forward_client_cert_details", "SANITIZE", 0);
    fields.refuse("access_log", "there are no access logs yet");
    fields.refuse("tracing", "it is not there yet");
    fields.refuse("local_reply_config", "it is not there yet");
}
