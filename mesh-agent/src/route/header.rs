//! Header criteria (`HeaderMatcher`).

use std::borrow::Cow;

use crate::model::route::{HeaderMatch, ValueTest};
use crate::route::RequestView;

/// Whether a request passes. A header that is missing fails every test but that of its presence, inverted or not, as in Envoy.
pub(super) fn matches(test: &HeaderMatch, request: &impl RequestView) -> bool {
    let value = value(&test.name, request);
    if let ValueTest::Present(wanted) = test.test {
        return (value.is_some() == wanted) != test.invert;
    }
    match value.or_else(|| test.missing_as_empty.then_some(Cow::Borrowed(""))) {
        Some(value) => passes(&test.test, &value) != test.invert,
        None => false,
    }
}

/// Whether a value that is there passes.
pub(super) fn passes(test: &ValueTest, value: &str) -> bool {
    match test {
        ValueTest::Present(wanted) => *wanted,
        ValueTest::Text(text) => text.matches(value),
        ValueTest::Range { start, end } => {
            value.trim().parse::<i64>().is_ok_and(|value| (*start..*end).contains(&value))
        }
    }
}

fn value<'a>(name: &str, request: &'a impl RequestView) -> Option<Cow<'a, str>> {
    match name {
        ":method" => Some(request.method().into()),
        ":path" => Some(request.path().into()),
        ":authority" | "host" => Some(request.authority().into()),
        ":scheme" => Some(request.scheme().into()),
        name => request.header(name),
    }
}
