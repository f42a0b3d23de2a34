//! Filters that come by themselves: where one is asked for (`envoy.config.core.v3.ExtensionConfigSource`), and the resource
//! (`envoy.config.core.v3.TypedExtensionConfig`).

use std::sync::Arc;

use crate::decode::chain::LAST;
use crate::decode::fields::{AnyDecoder, Fields};
use crate::decode::http_options::{FILTERS, router};
use crate::decode::kind::Kind;
use crate::decode::management::{CONFIG_SOURCE, config_source};
use crate::decode::problem::Problem;
use crate::decode::rbac::{RBAC, rbac};
use crate::model::extension::{Discovery, Extension, Filter, Place, Placed, Router};

/// The type of what a place takes, and how it is read.
type Reader<'d, F> = &'d dyn Fn(&Fields<'_>) -> Option<F>;

/// A filter where it stands, or where it is had from: the one of both that `fields`, those of the filter, have set.
pub(crate) fn place<T>(
    fields: &Fields<'_>,
    known: &[AnyDecoder<'_, T>],
    later: &[(&'static str, &'static str)],
    discovery: impl FnOnce(&Fields<'_>) -> Option<T>,
) -> Option<T> {
    let one = fields.require_one_of(&["typed_config", "config_discovery"], &[]);
    let fixed = fields.optional_any("typed_config", known, later);
    let discovered = discovery(fields);
    one.and(fixed.or(discovered))
}

/// A filter's `config_discovery`, which is a `message`. What stands in it is of one type.
pub(crate) fn discovery<F: Placed>(
    fields: &Fields<'_>,
    message: &'static str,
    read: Reader<'_, F>,
    later: &[(&'static str, &'static str)],
) -> Option<Place<F>> {
    let name = fields.name("name").map(Arc::from);
    let found = fields.message("config_discovery", message, |fields| {
        let source = fields.require_message("config_source", CONFIG_SOURCE, config_source);
        let default = fields.optional_any("default_config", &[(F::MESSAGE, read)], later);
        let has_default = fields.get("default_config", &Kind::Any(vec![F::MESSAGE])).is_some();
        let waits = !fields.flag("apply_default_config_without_warming", false);
        if !waits && !has_default {
            fields.at().rule("apply_default_config_without_warming needs a default_config");
        }
        type_urls(fields, F::MESSAGE, later);
        Some((source?, default, waits))
    });
    let (source, default, waits) = found?;
    Some(Place::Discovered(Discovery { name: name?, source, default, waits }))
}

/// The types that the filter may have: the one that fits where it stands.
fn type_urls(fields: &Fields<'_>, message: &'static str, later: &[(&'static str, &'static str)]) {
    let types = fields.each("type_urls", Kind::Text, |at| {
        let found = at.text()?.rsplit('/').next().unwrap_or_default();
        match later.iter().find(|(name, _)| *name == found) {
            _ if found == message => {}
            Some((found, why)) => at.report(Problem::RefusedType { found, why }),
            None => at.report(Problem::UnknownType { found: found.to_owned(), supported: vec![message] }),
        }
        Some(())
    });
    let written = fields.get("type_urls", &Kind::list(Kind::Text));
    if types.is_empty() && written.is_none_or(|at| at.node.value.is_empty_list()) {
        fields.missing("type_urls");
    }
}

/// The resource.
pub(crate) fn extension(fields: &Fields<'_>) -> Option<Extension> {
    let name = fields.name("name").map(Arc::from);
    let later: Vec<_> = FILTERS.iter().chain(&LAST).copied().collect();
    let filter = fields.any(
        "typed_config",
        &[
            (Router::MESSAGE, &|fields| router(fields).map(Filter::Router)),
            (RBAC, &|fields| rbac(fields).map(Filter::Rules)),
        ],
        &later,
    );
    Some(Extension { name: name?, filter: filter? })
}
