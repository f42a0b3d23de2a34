//! Protocol options of HTTP, for the client's side and the upstream's, and the HTTP filters.

use std::time::Duration;

use crate::decode::extension::{discovery, place};
use crate::decode::fields::{AnyDecoder, Fields};
use crate::decode::kind::Kind;
use crate::model::cluster::Http2Options;
use crate::model::extension::{Place, Placed, Router};

pub(crate) const COMMON: &str = "envoy.config.core.v3.HttpProtocolOptions";
pub(crate) const HTTP1: &str = "envoy.config.core.v3.Http1ProtocolOptions";
pub(crate) const HTTP2: &str = "envoy.config.core.v3.Http2ProtocolOptions";
pub(crate) const HTTP_FILTER: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter";

/// Filters that are known and not there yet.
pub(crate) const FILTERS: [(&str, &str); 20] = [
    ("envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency", LATER),
    ("envoy.extensions.filters.http.buffer.v3.Buffer", LATER),
    ("envoy.extensions.filters.http.compressor.v3.Compressor", LATER),
    ("envoy.extensions.filters.http.cors.v3.Cors", LATER),
    ("envoy.extensions.filters.http.decompressor.v3.Decompressor", LATER),
    ("envoy.extensions.filters.http.ext_authz.v3.ExtAuthz", LATER),
    ("envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor", LATER),
    ("envoy.extensions.filters.http.fault.v3.HTTPFault", LATER),
    ("envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder", LATER),
    ("envoy.extensions.filters.http.grpc_stats.v3.FilterConfig", LATER),
    ("envoy.extensions.filters.http.grpc_web.v3.GrpcWeb", LATER),
    ("envoy.extensions.filters.http.header_mutation.v3.HeaderMutation", LATER),
    ("envoy.extensions.filters.http.health_check.v3.HealthCheck", LATER),
    ("envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication", LATER),
    ("envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit", LATER),
    ("envoy.extensions.filters.http.lua.v3.Lua", LATER),
    ("envoy.extensions.filters.http.ratelimit.v3.RateLimit", LATER),
    ("envoy.extensions.filters.http.rbac.v3.RBAC", LATER),
    ("envoy.extensions.filters.http.stateful_session.v3.StatefulSession", LATER),
    ("envoy.extensions.filters.http.wasm.v3.Wasm", LATER),
];
/// Asks for virtual hosts.
pub(crate) const ON_DEMAND: &str = "envoy.extensions.filters.http.on_demand.v3.OnDemand";
const LATER: &str = "it is not there yet";

const SOURCE: &str = "envoy.config.core.v3.ExtensionConfigSource of an HTTP filter";

const IDLE: Duration = Duration::from_secs(3600);
const HEADERS_COUNT: u32 = 100;
const WINDOW: std::ops::RangeInclusive<u32> = 65_535..=2_147_483_647;

/// `HttpProtocolOptions` of the client's side.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_headers_count: u32,
}

impl Default for Common {
    fn default() -> Self {
        Self { idle_timeout: Some(IDLE), max_headers_count: HEADERS_COUNT }
    }
}

pub(crate) fn common_options(fields: &Fields<'_>) -> Option<Common> {
    fields.only_choice("headers_with_underscores_action", "ALLOW", 0);
    Some(Common {
        idle_timeout: fields.limit("idle_timeout", Some(IDLE)),
        max_headers_count: fields.number("max_headers_count", 1..=u32::MAX).unwrap_or(HEADERS_COUNT),
    })
}

/// `Http1ProtocolOptions` of the client's side.
#[derive(Debug, Default)]
pub(crate) struct Http1 {
    pub(crate) accept_http_10: bool,
    pub(crate) trailers: bool,
}

pub(crate) fn http1_options(fields: &Fields<'_>) -> Option<Http1> {
    upstream_http1(fields)?;
    Some(Http1 {
        accept_http_10: fields.flag("accept_http_10", false),
        trailers: fields.flag("enable_trailers", false),
    })
}

/// `Http1ProtocolOptions` of the upstream's side, where nothing can be chosen.
pub(crate) fn upstream_http1(fields: &Fields<'_>) -> Option<()> {
    fields.only_flag("allow_absolute_url", true);
    fields.only_flag("allow_chunked_length", false);
    fields.only_flag("send_fully_qualified_url", false);
    Some(())
}

/// `Http2ProtocolOptions`, with the ranges Envoy checks.
pub(crate) fn http2_options(fields: &Fields<'_>) -> Option<Http2Options> {
    fields.only_flag("allow_connect", false);
    fields.only_flag("allow_metadata", false);
    Some(Http2Options {
        max_concurrent_streams: fields.number("max_concurrent_streams", 1..=2_147_483_647),
        initial_stream_window_size: fields.number("initial_stream_window_size", WINDOW),
        initial_connection_window_size: fields.number("initial_connection_window_size", WINDOW),
    })
}

/// One HTTP filter.
enum HttpFilter {
    /// Virtual hosts are asked for.
    OnDemand,
    /// Ends the chain.
    Router(Place<Router>),
}

/// The HTTP filters: the router, and before it perhaps `on_demand`, and whether that is there.
pub(crate) fn http_filters(fields: &Fields<'_>, message: &'static str) -> (Option<Place<Router>>, bool) {
    let written = fields.get("http_filters", &Kind::list(Kind::Message(message)));
    let mut filters = fields.messages("http_filters", message, |fields| {
        fields.require_text("name");
        fields.only_flag("is_optional", false);
        fields.only_flag("disabled", false);
        let fixed = |fields: &Fields<'_>| router(fields).map(Place::Fixed).map(HttpFilter::Router);
        let known: [AnyDecoder<'_, HttpFilter>; 2] = [(Router::MESSAGE, &fixed), (ON_DEMAND, &on_demand)];
        place(fields, &known, &FILTERS, |fields| discovery(fields, SOURCE, &router, &FILTERS).map(HttpFilter::Router))
    });
    let count = |is: fn(&HttpFilter) -> bool| filters.iter().filter(|filter| is(filter)).count();
    let on_demand = count(|filter| matches!(filter, HttpFilter::OnDemand));
    let routers = count(|filter| matches!(filter, HttpFilter::Router(_)));
    match written {
        Some(at) if filters.is_empty() && at.node.value.is_empty_list() => at.rule("must end with the router filter"),
        Some(at) if routers > 1 => at.rule("must have the router filter once"),
        Some(at) if on_demand > 1 => at.rule("must have the on_demand filter once"),
        Some(at) if matches!(filters.last(), Some(HttpFilter::OnDemand)) => at.rule("must end with the router filter"),
        Some(_) => {}
        None => fields.missing("http_filters"),
    }
    let router = filters.pop().and_then(|filter| match filter {
        HttpFilter::Router(router) => Some(router),
        HttpFilter::OnDemand => None,
    });
    (router, on_demand > 0)
}

fn on_demand(fields: &Fields<'_>) -> Option<HttpFilter> {
    fields.refuse("odcds", "mesh.on_demand: true does so for every cluster");
    Some(HttpFilter::OnDemand)
}

pub(crate) fn router(fields: &Fields<'_>) -> Option<Router> {
    fields.only_flag("start_child_span", false);
    fields.only_flag("respect_expected_rq_timeout", false);
    fields.refuse("upstream_log", "there are no access logs yet");
    Some(Router { suppress_envoy_headers: fields.flag("suppress_envoy_headers", false) })
}
