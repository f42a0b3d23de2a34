//! Route configurations, virtual hosts and routes (`envoy.config.route.v3`).

use crate::decode::action::{DIRECT_RESPONSE, REDIRECT, ROUTE_ACTION, direct_response, forward, redirect};
use crate::decode::at::At;
use crate::decode::fields::Fields;
use crate::decode::kind::Kind;
use crate::decode::management::{CONFIG_SOURCE, server_source};
use crate::decode::route_match::{ROUTE_MATCH, route_match};
use crate::decode::unique::Unique;
use crate::model::name::RouteConfigName;
use crate::model::route::{Action, Domain, Route, RouteConfig, VirtualHost};

pub(crate) const ROUTE_CONFIGURATION: &str = "envoy.config.route.v3.RouteConfiguration";
const VHDS: &str = "envoy.config.route.v3.Vhds";
const VIRTUAL_HOST: &str = "envoy.config.route.v3.VirtualHost";
const ROUTE: &str = "envoy.config.route.v3.Route";
pub(crate) const LATER: &str = "it is not there yet";

/// `inline`: it stands in a listener, and its clusters have to exist before it goes live. Routes that come by themselves wait for
/// their clusters as well, but not for ever: one that never comes costs its requests a 503, not the others their routes.
pub(crate) fn route_configuration(fields: &Fields<'_>, inline: bool) -> Option<RouteConfig> {
    let names = Unique::new("virtual host");
    let domains = Unique::new("domain");
    fields.only_flag("validate_clusters", inline);
    fields.only_flag("ignore_port_in_host_matching", false);
    let vhds = if inline {
        fields.refuse("vhds", "it comes with rds");
        None
    } else {
        fields.message("vhds", VHDS, |fields| fields.require_message("config_source", CONFIG_SOURCE, server_source))
    };
    header_changes(fields);
    Some(RouteConfig {
        name: RouteConfigName::from(fields.name("name").unwrap_or_default()),
        virtual_hosts: fields.messages("virtual_hosts", VIRTUAL_HOST, |f| virtual_host(f, &names, &domains)),
        vhds,
    })
}

/// One that comes by itself.
pub(crate) fn lone_virtual_host(fields: &Fields<'_>) -> Option<VirtualHost> {
    virtual_host(fields, &Unique::new("virtual host"), &Unique::new("domain"))
}

fn virtual_host(fields: &Fields<'_>, names: &Unique, taken: &Unique) -> Option<VirtualHost> {
    let name = fields.require_text("name");
    if let (Some(name), Some(at)) = (name, fields.get("name", &Kind::Text)) {
        names.claim(name.to_owned(), &at);
    }
    let domains = fields.each("domains", Kind::Text, |at| domain(at, taken));
    if fields.get("domains", &Kind::list(Kind::Text)).is_none_or(|at| at.node.value.is_empty_list()) {
        fields.missing("domains");
    }
    fields.only_choice("require_tls", "NONE", 0);
    fields.only_flag("include_request_attempt_count", false);
    fields.only_flag("include_attempt_count_in_response", false);
    fields.refuse("retry_policy", LATER);
    fields.refuse("rate_limits", LATER);
    fields.refuse("matcher", "write routes");
    header_changes(fields);
    Some(VirtualHost {
        name: name.unwrap_or_default().to_owned(),
        domains,
        routes: fields.messages("routes", ROUTE, route),
    })
}

fn domain(at: &At<'_>, taken: &Unique) -> Option<Domain> {
    let text = at.text()?.to_ascii_lowercase();
    let domain = if text == "*" {
        Domain::Any
    } else if let Some(suffix) = text.strip_prefix('*') {
        Domain::Suffix(suffix.to_owned())
    } else if let Some(prefix) = text.strip_suffix('*') {
        Domain::Prefix(prefix.to_owned())
    } else {
        Domain::Exact(text.clone())
    };
    let fixed = match &domain {
        Domain::Any => "*",
        Domain::Suffix(fixed) | Domain::Prefix(fixed) | Domain::Exact(fixed) => fixed,
    };
    if fixed.is_empty() {
        at.rule("must not be empty");
    } else if domain != Domain::Any && fixed.contains('*') {
        at.rule("a star may only be the first or the last character, and not both");
    } else if !fixed.bytes().all(|b| b.is_ascii_graphic()) {
        at.rule("must be visible ASCII characters, as a host name is");
    }
    taken.claim(text, at);
    Some(domain)
}

fn route(fields: &Fields<'_>) -> Option<Route> {
    let matches = fields.require_message("match", ROUTE_MATCH, route_match);
    fields.require_one_of(
        &["route", "redirect", "direct_response"],
        &[("filter_action", LATER), ("non_forwarding_action", "it is for the clients of gRPC")],
    );
    let forward = fields.message("route", ROUTE_ACTION, forward).map(Action::Forward);
    let redirect = fields.message("redirect", REDIRECT, redirect).map(Action::Redirect);
    let respond = fields.message("direct_response", DIRECT_RESPONSE, direct_response).map(Action::Respond);
    fields.refuse("decorator", "there is no tracing yet");
    fields.refuse("tracing", "it is not there yet");
    header_changes(fields);
    Some(Route {
        name: fields.name("name").unwrap_or_default().to_owned(),
        matches: matches?,
        action: forward.or(redirect).or(respond)?,
    })
}

/// What can be done to headers, and to filters, at each level of routing.
pub(crate) fn header_changes(fields: &Fields<'_>) {
    for name in [
        "request_headers_to_add",
        "request_headers_to_remove",
        "response_headers_to_add",
        "response_headers_to_remove",
        "typed_per_filter_config",
    ] {
        fields.refuse(name, LATER);
    }
}
