//! `envoy.config.route.v3.RouteConfiguration`.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::admin::dump::listener::weighted;
use crate::admin::dump::management::config_source;
use crate::admin::dump::object::{Object, limit};
use crate::model::matcher::{FullRegex, StringMatch, StringMatchKind};
use crate::model::route::{
    Action, DirectResponse, Domain, Forward, HeaderMatch, HostRewrite, IdleTimeout, PathMatch, PathRewrite, QueryMatch,
    Redirect, RedirectPath, RedirectScheme, Route, RouteConfig, RouteMatch, ValueTest, VirtualHost,
};

pub(super) fn route_config(config: &RouteConfig) -> Value {
    Object::default()
        .text("name", config.name.as_str())
        .list("virtual_hosts", &config.virtual_hosts, virtual_host)
        .maybe("vhds", config.vhds.as_ref().map(|source| json!({ "config_source": config_source(source) })))
        .done()
}

fn virtual_host(host: &VirtualHost) -> Value {
    Object::default()
        .set("name", host.name.as_str())
        .list("domains", &host.domains, |domain| json!(self::domain(domain)))
        .list("routes", &host.routes, route)
        .done()
}

fn domain(domain: &Domain) -> String {
    match domain {
        Domain::Exact(name) => name.clone(),
        Domain::Suffix(suffix) => format!("*{suffix}"),
        Domain::Prefix(prefix) => format!("{prefix}*"),
        Domain::Any => "*".to_owned(),
    }
}

fn route(route: &Route) -> Value {
    let object = Object::default().text("name", &route.name).set("match", route_match(&route.matches));
    match &route.action {
        Action::Forward(action) => object.set("route", forward(action)),
        Action::Redirect(action) => object.set("redirect", redirect(action)),
        Action::Respond(action) => object.set("direct_response", respond(action)),
    }
    .done()
}

fn route_match(matches: &RouteMatch) -> Value {
    let object = match &matches.path {
        PathMatch::Prefix(prefix) => Object::default().set("prefix", prefix.as_str()),
        PathMatch::Exact(path) => Object::default().set("path", path.as_str()),
        PathMatch::SeparatedPrefix(prefix) => Object::default().set("path_separated_prefix", prefix.as_str()),
        PathMatch::Regex(pattern) => Object::default().set("safe_regex", regex(pattern)),
    };
    object
        .set("case_sensitive", matches.case_sensitive)
        .list("headers", &matches.headers, header_match)
        .list("query_parameters", &matches.query, query_match)
        .maybe("grpc", matches.grpc.then(|| json!({})))
        .done()
}

fn header_match(header: &HeaderMatch) -> Value {
    let object = Object::default().set("name", header.name.as_str());
    match &header.test {
        ValueTest::Present(present) => object.set("present_match", *present),
        ValueTest::Text(text) => object.set("string_match", string_match(text)),
        ValueTest::Range { start, end } => object.set("range_match", json!({ "start": start, "end": end })),
    }
    .set("invert_match", header.invert)
    .set("treat_missing_header_as_empty", header.missing_as_empty)
    .done()
}

fn query_match(query: &QueryMatch) -> Value {
    let object = Object::default().set("name", query.name.as_str());
    match &query.test {
        ValueTest::Present(present) => object.set("present_match", *present),
        ValueTest::Text(text) => object.set("string_match", string_match(text)),
        // Envoy has none for query parameters, and the decoder makes none.
        ValueTest::Range { start, end } => object.set("range_match", json!({ "start": start, "end": end })),
    }
    .done()
}

pub(super) fn string_match(matcher: &StringMatch) -> Value {
    let (key, value) = match &matcher.kind {
        StringMatchKind::Exact(text) => ("exact", json!(text)),
        StringMatchKind::Prefix(text) => ("prefix", json!(text)),
        StringMatchKind::Suffix(text) => ("suffix", json!(text)),
        StringMatchKind::Contains(text) => ("contains", json!(text)),
        StringMatchKind::Regex(pattern) => ("safe_regex", regex(pattern)),
    };
    Object::default().set(key, value).maybe("ignore_case", matcher.ignore_case.then_some(true)).done()
}

fn regex(pattern: &FullRegex) -> Value {
    json!({ "regex": pattern.source() })
}

fn forward(forward: &Forward) -> Value {
    let mut object = match forward.clusters.as_slice() {
        [only] => Object::default().set("cluster", only.name.as_str()),
        clusters => Object::default().set("weighted_clusters", weighted(clusters)),
    };
    object = match &forward.host {
        HostRewrite::Keep => object,
        HostRewrite::Literal(host) => object.set("host_rewrite_literal", host.as_str()),
        HostRewrite::Auto => object.set("auto_host_rewrite", true),
        HostRewrite::Header(name) => object.set("host_rewrite_header", name.as_str()),
    };
    object = match &forward.path {
        PathRewrite::Keep => object,
        PathRewrite::Prefix(prefix) => object.set("prefix_rewrite", prefix.as_str()),
    };
    object = match forward.idle_timeout {
        IdleTimeout::Inherit => object,
        IdleTimeout::Never => object.set("idle_timeout", limit(None)),
        IdleTimeout::After(time) => object.set("idle_timeout", limit(Some(time))),
    };
    object
        .set("timeout", limit(forward.timeout))
        .list("upgrade_configs", &forward.upgrades, |(name, on)| json!({ "upgrade_type": name, "enabled": on }))
        .set("cluster_not_found_response_code", not_found(forward.cluster_not_found.as_u16()))
        .done()
}

fn not_found(status: u16) -> &'static str {
    match status {
        404 => "NOT_FOUND",
        500 => "INTERNAL_SERVER_ERROR",
        _ => "SERVICE_UNAVAILABLE",
    }
}

fn redirect(redirect: &Redirect) -> Value {
    let code = match redirect.status.as_u16() {
        302 => "FOUND",
        303 => "SEE_OTHER",
        307 => "TEMPORARY_REDIRECT",
        308 => "PERMANENT_REDIRECT",
        _ => "MOVED_PERMANENTLY",
    };
    let mut object = Object::default()
        .set("response_code", code)
        .maybe("host_redirect", redirect.host.as_deref())
        .maybe("port_redirect", redirect.port)
        .set("strip_query", redirect.strip_query);
    object = match &redirect.scheme {
        RedirectScheme::Keep => object,
        RedirectScheme::Https => object.set("https_redirect", true),
        RedirectScheme::Literal(scheme) => object.set("scheme_redirect", scheme.as_str()),
    };
    match &redirect.path {
        RedirectPath::Keep => object,
        RedirectPath::Replace(path) => object.set("path_redirect", path.as_str()),
        RedirectPath::Prefix(prefix) => object.set("prefix_rewrite", prefix.as_str()),
    }
    .done()
}

fn respond(response: &DirectResponse) -> Value {
    Object::default()
        .set("status", response.status.as_u16())
        .maybe("body", (!response.body.is_empty()).then(|| body(&response.body)))
        .done()
}

fn body(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({ "inline_string": text }),
        Err(_) => json!({ "inline_bytes": BASE64_STANDARD.encode(bytes) }),
    }
}
