//! `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`.

use serde_json::{Value, json};

use crate::admin::dump::listener::{filter, placed};
use crate::admin::dump::management::config_source;
use crate::admin::dump::object::{Object, limit};
use crate::admin::dump::route::route_config;
use crate::model::cluster::Http2Options;
use crate::model::extension::{Placed as _, Router};
use crate::model::filter::{Codec, HttpConnectionManager, Rds, RouteSource, ServerHeader};
use crate::model::scope::{Extractor, Pick, Scope, ScopedRoutes, Scopes};

pub(super) fn connection_manager(manager: &HttpConnectionManager) -> Value {
    let codec = match manager.codec {
        Codec::Auto => "AUTO",
        Codec::Http1 => "HTTP1",
        Codec::Http2 => "HTTP2",
    };
    let server = match manager.server_header {
        ServerHeader::Overwrite => "OVERWRITE",
        ServerHeader::AppendIfAbsent => "APPEND_IF_ABSENT",
        ServerHeader::PassThrough => "PASS_THROUGH",
    };
    let (key, routes) = match &manager.routes {
        RouteSource::Inline(routes) => ("route_config", route_config(routes)),
        RouteSource::Discovered(Rds { name, source }) => {
            ("rds", json!({ "route_config_name": name.as_str(), "config_source": config_source(source) }))
        }
        RouteSource::Scoped(scoped) => ("scoped_routes", scoped_routes(scoped)),
    };
    Object::typed("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager")
        .set("stat_prefix", manager.stat_prefix.as_str())
        .set("codec_type", codec)
        .set(key, routes)
        .set("http_filters", http_filters(manager))
        .set("server_name", manager.server_name.as_str())
        .set("server_header_transformation", server)
        .maybe("via", manager.via.as_deref())
        .set("use_remote_address", manager.use_remote_address)
        .set("xff_num_trusted_hops", manager.xff_num_trusted_hops)
        .set("skip_xff_append", manager.skip_xff_append)
        .set("generate_request_id", manager.generate_request_id)
        .set("preserve_external_request_id", manager.preserve_external_request_id)
        .set("always_set_request_id_in_response", manager.always_set_request_id_in_response)
        .set("max_request_headers_kb", manager.max_request_headers_kb)
        .set(
            "common_http_protocol_options",
            json!({ "idle_timeout": limit(manager.idle_timeout), "max_headers_count": manager.max_headers_count }),
        )
        .set("stream_idle_timeout", limit(manager.stream_idle_timeout))
        .set("request_timeout", limit(manager.request_timeout))
        .set("request_headers_timeout", limit(manager.request_headers_timeout))
        .list("upgrade_configs", &manager.upgrades, |name| json!({ "upgrade_type": name }))
        .set("normalize_path", manager.normalize_path)
        .set("merge_slashes", manager.merge_slashes)
        .set(
            "http_protocol_options",
            json!({ "accept_http_10": manager.accept_http_10, "enable_trailers": manager.http1_trailers }),
        )
        .set("http2_protocol_options", http2(manager.http2))
        .done()
}

fn scoped_routes(scoped: &ScopedRoutes) -> Value {
    let object = Object::default()
        .set("name", scoped.name.as_str())
        .set("scope_key_builder", json!({ "fragments": scoped.key.iter().map(extractor).collect::<Vec<_>>() }))
        .set("rds_config_source", config_source(&scoped.routes));
    match &scoped.scopes {
        Scopes::Discovered(source) => {
            object.set("scoped_rds", json!({ "scoped_rds_config_source": config_source(source) })).done()
        }
        Scopes::Inline(scopes) => {
            let scopes: Vec<_> = scopes.iter().map(|it| scope(it)).collect();
            object.set("scoped_route_configurations_list", json!({ "scoped_route_configurations": scopes })).done()
        }
    }
}

fn extractor(extractor: &Extractor) -> Value {
    let object =
        Object::default().set("name", extractor.header.as_str()).text("element_separator", &extractor.separator);
    let object = match &extractor.pick {
        Pick::Index(index) => object.set("index", *index),
        Pick::Element { separator, key } => object.set("element", json!({ "separator": separator, "key": key })),
    };
    json!({ "header_value_extractor": object.done() })
}

/// `envoy.config.route.v3.ScopedRouteConfiguration`.
pub(super) fn scope(scope: &Scope) -> Value {
    let fragments: Vec<_> = scope.key.iter().map(|fragment| json!({ "string_key": fragment })).collect();
    Object::default()
        .set("name", &*scope.name)
        .set("route_configuration_name", scope.routes.as_str())
        .set("key", json!({ "fragments": fragments }))
        .set("on_demand", scope.on_demand)
        .done()
}

fn http_filters(manager: &HttpConnectionManager) -> Value {
    let router = placed("envoy.filters.http.router", &manager.router, router);
    let on_demand = || Object::typed("envoy.extensions.filters.http.on_demand.v3.OnDemand").done();
    match manager.on_demand {
        true => json!([filter("envoy.filters.http.on_demand", on_demand()), router]),
        false => json!([router]),
    }
}

pub(super) fn router(router: &Router) -> Value {
    Object::typed(Router::MESSAGE).set("suppress_envoy_headers", router.suppress_envoy_headers).done()
}

/// `envoy.config.core.v3.Http2ProtocolOptions`.
pub(super) fn http2(options: Http2Options) -> Value {
    Object::default()
        .maybe("max_concurrent_streams", options.max_concurrent_streams)
        .maybe("initial_stream_window_size", options.initial_stream_window_size)
        .maybe("initial_connection_window_size", options.initial_connection_window_size)
        .done()
}
