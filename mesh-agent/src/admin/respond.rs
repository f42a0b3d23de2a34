//! From a request's method, path and host to an answer.

use std::net::IpAddr;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use serde::Serialize;

use crate::admin::serve::Via;
use crate::admin::{Admin, ConfigView, clusters, dump};

type Answer = Response<Full<Bytes>>;

const TEXT: &str = "text/plain; charset=utf-8";
/// With the version of the format, as Prometheus asks for it.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

const INDEX: &str = "\
/livez         the process answers
/readyz        200 if traffic is served, 503 before that and while draining
/config_dump   the configuration in force, JSON; ?include_eds
/clusters      clusters and endpoints; ?format=json
/config        what came from the management server, and what was refused, JSON
/workloads     the workloads of this node, JSON
/connections   open connections, JSON
/edges         who talks to whom: requests, errors, latency, JSON
/metrics       for Prometheus
/drain         POST: finish what runs, then end, as SIGTERM does
and, by gRPC, envoy.service.status.v3.ClientStatusDiscoveryService
";

/// Answers `request`, whose body does not matter.
pub(super) fn respond<B>(admin: &Admin, via: Via, request: &Request<B>) -> Answer {
    if !is_welcome(via, request) {
        return text(StatusCode::FORBIDDEN, "the host must be localhost or a loopback address\n");
    }
    let path = request.uri().path();
    if path == "/drain" {
        return drain(admin, request);
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return method_not_allowed("GET, HEAD");
    }
    match path {
        "/" => text(StatusCode::OK, INDEX),
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" => ready(admin),
        "/config_dump" => json(&dump::config(&admin.live(), request.uri().query() == Some("include_eds"))),
        "/clusters" if request.uri().query() == Some("format=json") => json(&clusters::json(&admin.snapshot())),
        "/clusters" => text(StatusCode::OK, clusters::text(&admin.snapshot())),
        "/config" => json(&(admin.management)().map(|it| ConfigView::of(it, SystemTime::now()))),
        "/workloads" => json(&(admin.workloads)()),
        "/connections" => json(&admin.telemetry.connections()),
        "/edges" => json(&admin.telemetry.edges()),
        "/metrics" => answer(StatusCode::OK, METRICS, admin.telemetry.prometheus()),
        _ => text(StatusCode::NOT_FOUND, format!("there is no {path}; there is:\n{INDEX}")),
    }
}

/// Whether a request may ask anything.
pub(super) fn is_welcome<B>(via: Via, request: &Request<B>) -> bool {
    via == Via::Unix || names_loopback(request)
}

fn ready(admin: &Admin) -> Answer {
    if admin.drain.watcher().draining() {
        text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if admin.readiness.is_set() {
        let kept = (admin.management)().and_then(|it| it.last_good?.serving);
        match kept.map(|(at, server)| (at.elapsed().unwrap_or_default().as_secs(), server)) {
            Some((age, server)) => {
                text(StatusCode::OK, format!("ok, with what {server:?} sent {age} seconds ago: no server answers\n"))
            }
            None => text(StatusCode::OK, "ok\n"),
        }
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    }
}

fn drain<B>(admin: &Admin, request: &Request<B>) -> Answer {
    if request.method() != Method::POST {
        return method_not_allowed("POST");
    }
    // A browser lets any page post to any address, and says so in `origin`. No page has business here.
    if request.headers().contains_key(ORIGIN) {
        return text(StatusCode::FORBIDDEN, "not from a web page\n");
    }
    admin.drain.start();
    text(StatusCode::OK, "draining\n")
}

/// Whether the host of a request, with or without port, is one that no foreign DNS name can be.
fn names_loopback<B>(request: &Request<B>) -> bool {
    let authority = match request.version() {
        // `:authority` is what counts there.
        Version::HTTP_2 => request.uri().authority().cloned(),
        _ => {
            let mut hosts = request.headers().get_all(HOST).iter();
            let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
            host.to_str().ok().and_then(|host| host.parse().ok())
        }
    };
    let Some(authority) = authority else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn method_not_allowed(allowed: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("use {allowed}\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_string_pretty(value) {
        Ok(body) => answer(StatusCode::OK, JSON, body + "\n"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, TEXT, body)
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
