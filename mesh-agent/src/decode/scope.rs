//! Scoped routes: the keys of requests, and the scopes (`envoy.config.route.v3.ScopedRouteConfiguration`).

use std::sync::Arc;

use crate::decode::fields::Fields;
use crate::decode::kind::Kind;
use crate::decode::management::{CONFIG_SOURCE, server_source};
use crate::decode::unique::Unique;
use crate::model::name::RouteConfigName;
use crate::model::scope::{Extractor, Pick, Scope, ScopeKey, ScopedRoutes, Scopes};

pub(crate) const SCOPED_ROUTES: &str = "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes";
const BUILDER: &str = "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes.ScopeKeyBuilder";
const FRAGMENT_BUILDER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes.ScopeKeyBuilder.FragmentBuilder";
const EXTRACTOR: &str = "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes.ScopeKeyBuilder.FragmentBuilder.HeaderValueExtractor";
const ELEMENT: &str = "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes.ScopeKeyBuilder.FragmentBuilder.HeaderValueExtractor.KvElement";
const LIST: &str = "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRouteConfigurationsList";
const SCOPED_RDS: &str = "envoy.extensions.filters.network.http_connection_manager.v3.ScopedRds";
const SCOPE: &str = "envoy.config.route.v3.ScopedRouteConfiguration";
const KEY: &str = "envoy.config.route.v3.ScopedRouteConfiguration.Key";
const FRAGMENT: &str = "envoy.config.route.v3.ScopedRouteConfiguration.Key.Fragment";

/// `ScopedRoutes` of a connection manager.
pub(crate) fn scoped_routes(fields: &Fields<'_>) -> Option<ScopedRoutes> {
    let name = fields.require_text("name").map(str::to_owned);
    let key = fields.require_message("scope_key_builder", BUILDER, |fields| {
        some(fields, "fragments", FRAGMENT_BUILDER, |fields| {
            fields.require_message("header_value_extractor", EXTRACTOR, extractor)
        })
    });
    let routes = fields.require_message("rds_config_source", CONFIG_SOURCE, server_source);
    fields.require_one_of(&["scoped_route_configurations_list", "scoped_rds"], &[]);
    let inline = fields.message("scoped_route_configurations_list", LIST, list).map(Scopes::Inline);
    let discovered = fields.message("scoped_rds", SCOPED_RDS, |fields| {
        fields.refuse("srds_resources_locator", "resources are named by plain names");
        fields.require_message("scoped_rds_config_source", CONFIG_SOURCE, server_source)
    });
    let scopes = inline.or(discovered.map(Scopes::Discovered));
    Some(ScopedRoutes { name: name?, key: key?, scopes: scopes?, routes: routes? })
}

/// Scopes in place. They cannot wait for somebody: whoever writes them knows them.
fn list(fields: &Fields<'_>) -> Option<Vec<Arc<Scope>>> {
    let (names, keys) = (Unique::new("scope"), Unique::new("key"));
    some(fields, "scoped_route_configurations", SCOPE, |fields| {
        fields.only_flag("on_demand", false);
        let scope = scope_of(fields, false)?;
        names.claim(scope.name.to_string(), fields.at());
        keys.claim(format!("{:?}", scope.key), fields.at());
        Some(Arc::new(scope))
    })
}

/// The resource.
pub(crate) fn scope(fields: &Fields<'_>) -> Option<Scope> {
    let on_demand = fields.flag("on_demand", false);
    scope_of(fields, on_demand)
}

fn scope_of(fields: &Fields<'_>, on_demand: bool) -> Option<Scope> {
    fields.require_text("name");
    let name = fields.name("name").map(Arc::from);
    fields.refuse("route_configuration", "write route_configuration_name");
    fields.require_text("route_configuration_name");
    let routes = fields.name("route_configuration_name").map(RouteConfigName::from);
    let key = fields.require_message("key", KEY, |fields| {
        some(fields, "fragments", FRAGMENT, |fields| {
            let at = fields.require("string_key", &Kind::Text)?;
            at.text().map(Box::from)
        })
    });
    Some(Scope { name: name?, routes: routes?, key: ScopeKey::from(key?), on_demand })
}

fn extractor(fields: &Fields<'_>) -> Option<Extractor> {
    let header = fields.require_text("name").map(str::to_ascii_lowercase);
    let separator = fields.text("element_separator").unwrap_or_default().to_owned();
    let one = fields.require_one_of(&["index", "element"], &[]);
    let index = fields.number("index", 0..=u32::MAX);
    if let (Some(1..), Some(at), true) =
        (index, fields.get("index", &Kind::number(&(0..=u32::MAX))), separator.is_empty())
    {
        at.rule("must be 0 without an element_separator: there is one element");
    }
    let element = fields.message("element", ELEMENT, |fields| {
        let text = |name| fields.require_text(name).map(str::to_owned);
        let (separator, key) = (text("separator"), text("key"));
        Some(Pick::Element { separator: separator?, key: key? })
    });
    let pick = one.and(index.map(|index| Pick::Index(index as usize)).or(element));
    Some(Extractor { header: header?, separator, pick: pick? })
}

/// A list that must not be empty, all of it or nothing.
fn some<T>(
    fields: &Fields<'_>,
    name: &'static str,
    message: &'static str,
    decode: impl FnMut(&Fields<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let written = fields.require(name, &Kind::list(Kind::Message(message)))?.list()?.len();
    if written == 0 {
        fields.missing(name);
    }
    let read = fields.messages(name, message, decode);
    (written > 0 && read.len() == written).then_some(read)
}
