//! Which requests a route takes (`envoy.config.route.v3.RouteMatch`).

use http::HeaderName;

use crate::decode::fields::{Fields, OneOf};
use crate::decode::kind::Kind;
use crate::decode::matcher::{REGEX, STRING, regex, string_match};
use crate::decode::route::LATER;
use crate::model::matcher::{FullRegex, StringMatch, StringMatchKind};
use crate::model::route::{HeaderMatch, PathMatch, QueryMatch, RouteMatch, ValueTest};

pub(crate) const ROUTE_MATCH: &str = "envoy.config.route.v3.RouteMatch";
const GRPC: &str = "envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions";
const HEADER: &str = "envoy.config.route.v3.HeaderMatcher";
const QUERY: &str = "envoy.config.route.v3.QueryParameterMatcher";
const RANGE: &str = "envoy.type.v3.Int64Range";

pub(crate) fn route_match(fields: &Fields<'_>) -> Option<RouteMatch> {
    let path = path(fields);
    let case_sensitive = fields.flag("case_sensitive", true);
    let headers = fields.messages("headers", HEADER, header);
    let query = fields.messages("query_parameters", QUERY, query);
    let grpc = fields.message("grpc", GRPC, |_| Some(())).is_some();
    fields.refuse("runtime_fraction", LATER);
    fields.refuse("cookies", LATER);
    fields.refuse("tls_context", "there is no TLS yet");
    Some(RouteMatch { path: path?, case_sensitive, headers, query, grpc })
}

fn path(fields: &Fields<'_>) -> Option<PathMatch> {
    let names = ["prefix", "path", "path_separated_prefix", "safe_regex"];
    let set =
        fields.require_one_of(&names, &[("connect_matcher", "CONNECT is not proxied"), ("path_match_policy", LATER)]);
    // An empty prefix or path is a value here, not the absence of one.
    let text = |name| fields.get(name, &Kind::Text)?.text().map(str::to_owned);
    let prefix = text("prefix").map(PathMatch::Prefix);
    let exact = text("path").map(PathMatch::Exact);
    let separated = text("path_separated_prefix").map(PathMatch::SeparatedPrefix);
    let regex = fields.message("safe_regex", REGEX, regex).map(PathMatch::Regex);
    if let Some(PathMatch::SeparatedPrefix(prefix)) = &separated
        && (prefix.len() < 2 || prefix.contains(['?', '#']) || prefix.ends_with('/'))
        && let Some(at) = fields.get("path_separated_prefix", &Kind::Text)
    {
        at.rule("must have two characters or more, no ? or #, and no slash at its end");
    }
    set?;
    prefix.or(exact).or(separated).or(regex)
}

fn header(fields: &Fields<'_>) -> Option<HeaderMatch> {
    let name = fields.require_text("name").and_then(|name| header_name(fields, "name", name));
    let names = [
        "string_match",
        "range_match",
        "present_match",
        "exact_match",
        "prefix_match",
        "suffix_match",
        "contains_match",
        "safe_regex_match",
    ];
    let set = fields.one_of(&names, &[]);
    // The last five are deprecated, but Envoy still takes them.
    let text = |name, kind: fn(String) -> StringMatchKind| {
        fields.get(name, &Kind::Text)?.text().map(|text| plain(kind(text.to_owned())))
    };
    let full = |regex: FullRegex| plain(StringMatchKind::Regex(regex));
    let tests = [
        fields.message("string_match", STRING, string_match).map(ValueTest::Text),
        fields.message("range_match", RANGE, range),
        fields.get("present_match", &Kind::Flag).and_then(|at| at.flag()).map(ValueTest::Present),
        text("exact_match", StringMatchKind::Exact),
        text("prefix_match", StringMatchKind::Prefix),
        text("suffix_match", StringMatchKind::Suffix),
        text("contains_match", StringMatchKind::Contains),
        fields.message("safe_regex_match", REGEX, regex).map(full),
    ];
    let invert = fields.flag("invert_match", false);
    let missing_as_empty = fields.flag("treat_missing_header_as_empty", false);
    let test = match set {
        OneOf::Unset => Some(ValueTest::Present(true)),
        OneOf::Set(_) | OneOf::Wrong => tests.into_iter().flatten().next(),
    };
    Some(HeaderMatch { name: name?, test: test?, invert, missing_as_empty })
}

fn plain(kind: StringMatchKind) -> ValueTest {
    ValueTest::Text(StringMatch { kind, ignore_case: false })
}

fn range(fields: &Fields<'_>) -> Option<ValueTest> {
    let bound = |name| match fields.get(name, &Kind::Integer(i64::MIN, i64::MAX)) {
        Some(at) => at.integer(i64::MIN, i64::MAX),
        None => Some(0),
    };
    let (start, end) = (bound("start"), bound("end"));
    Some(ValueTest::Range { start: start?, end: end? })
}

fn query(fields: &Fields<'_>) -> Option<QueryMatch> {
    let name = fields.require_text("name").map(str::to_owned);
    let set = fields.one_of(&["string_match", "present_match"], &[]);
    let text = fields.message("string_match", STRING, string_match).map(ValueTest::Text);
    let present = fields.get("present_match", &Kind::Flag).and_then(|at| at.flag()).map(ValueTest::Present);
    let test = match set {
        OneOf::Unset => Some(ValueTest::Present(true)),
        OneOf::Set(_) | OneOf::Wrong => text.or(present),
    };
    Some(QueryMatch { name: name?, test: test? })
}

/// A header's name in lower case, or a pseudo-header's.
pub(crate) fn header_name(fields: &Fields<'_>, field: &'static str, name: &str) -> Option<String> {
    const PSEUDO: [&str; 4] = [":method", ":path", ":authority", ":scheme"];
    let lower = name.to_ascii_lowercase();
    if !PSEUDO.contains(&lower.as_str()) && HeaderName::from_bytes(lower.as_bytes()).is_err() {
        if let Some(at) = fields.get(field, &Kind::Text) {
            at.rule("must be the name of a header, or one of :method, :path, :authority, :scheme");
        }
        return None;
    }
    Some(lower)
}
