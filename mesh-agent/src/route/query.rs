//! Query parameter criteria (`QueryParameterMatcher`). Values are compared as sent, without percent-decoding, as in Envoy.

use crate::model::route::{QueryMatch, ValueTest};
use crate::route::header;

/// Whether `path` has a query that passes.
pub(super) fn matches(test: &QueryMatch, path: &str) -> bool {
    let value = path.split_once('?').and_then(|(_, query)| parameter(query, &test.name));
    match (&test.test, value) {
        (ValueTest::Present(wanted), value) => value.is_some() == *wanted,
        (_, None) => false,
        (test, Some(value)) => header::passes(test, value),
    }
}

/// The first value of a parameter; a parameter without `=` has an empty one.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let query = query.split('#').next().unwrap_or_default();
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}
