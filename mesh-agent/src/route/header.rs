//! Header criteria (`HeaderMatcher`).

use std::borrow::Cow;
use std::iter;

use crate::model::route::{HeaderMatch, ValueTest};
use crate::route::RequestView;

/// Whether a request passes. One of several values is enough. A header that is missing fails every test but that of its
/// presence, inverted or not. All as in Envoy.
pub(super) fn matches(test: &HeaderMatch, request: &impl RequestView) -> bool {
    match test.name.as_str() {
        ":method" => passes_one(test, iter::once(request.method().into())),
        ":path" => passes_one(test, iter::once(request.path().into())),
        ":authority" | "host" => passes_one(test, iter::once(request.authority().into())),
        ":scheme" => passes_one(test, iter::once(request.scheme().into())),
        name => passes_one(test, request.header(name)),
    }
}

fn passes_one<'a>(test: &HeaderMatch, values: impl Iterator<Item = Cow<'a, str>>) -> bool {
    let mut values = values.peekable();
    let is_there = values.peek().is_some();
    match test.test {
        ValueTest::Present(wanted) => (is_there == wanted) != test.invert,
        _ if is_there => values.any(|value| passes(&test.test, &value)) != test.invert,
        _ => test.missing_as_empty && passes(&test.test, "") != test.invert,
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
