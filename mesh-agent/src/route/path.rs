//! Path criteria, and the rewriting of what they matched.

use crate::model::route::PathMatch;

/// Whether `path` (with or without query) passes.
pub(super) fn matches(test: &PathMatch, case_sensitive: bool, path: &str) -> bool {
    let path = without_query(path);
    match test {
        PathMatch::Prefix(prefix) => starts_with(path, prefix, case_sensitive),
        PathMatch::Exact(exact) => path.len() == exact.len() && starts_with(path, exact, case_sensitive),
        PathMatch::SeparatedPrefix(prefix) => {
            starts_with(path, prefix, case_sensitive) && matches!(path.as_bytes().get(prefix.len()), None | Some(b'/'))
        }
        PathMatch::Regex(regex) => regex.is_match(path),
    }
}

/// `path` with the part that `test` matched replaced by `replacement`; the query stays. A regular expression matches all of the path.
pub(super) fn rewrite(test: &PathMatch, path: &str, replacement: &str) -> String {
    let matched = match test {
        PathMatch::Prefix(text) | PathMatch::Exact(text) | PathMatch::SeparatedPrefix(text) => text.len(),
        PathMatch::Regex(_) => without_query(path).len(),
    };
    let rest = path.get(matched..).unwrap_or_default();
    let mut rewritten = String::with_capacity(replacement.len() + rest.len());
    rewritten.push_str(replacement);
    rewritten.push_str(rest);
    rewritten
}

/// The path up to its query or fragment.
pub(super) fn without_query(path: &str) -> &str {
    path.find(['?', '#']).map_or(path, |end| &path[..end])
}

fn starts_with(path: &str, prefix: &str, case_sensitive: bool) -> bool {
    match path.as_bytes().get(..prefix.len()) {
        Some(start) if case_sensitive => start == prefix.as_bytes(),
        Some(start) => start.eq_ignore_ascii_case(prefix.as_bytes()),
        None => false,
    }
}
