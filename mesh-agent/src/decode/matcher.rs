//! Matchers for text (`envoy.type.matcher.v3.StringMatcher`, `RegexMatcher`).

use crate::decode::fields::Fields;
use crate::decode::kind::Kind;
use crate::decode::problem::Problem;
use crate::model::matcher::{FullRegex, StringMatch, StringMatchKind};

pub(crate) const STRING: &str = "envoy.type.matcher.v3.StringMatcher";
pub(crate) const REGEX: &str = "envoy.type.matcher.v3.RegexMatcher";
const RE2: &str = "envoy.type.matcher.v3.RegexMatcher.GoogleRE2";

pub(crate) fn string_match(fields: &Fields<'_>) -> Option<StringMatch> {
    let names = ["exact", "prefix", "suffix", "contains", "safe_regex"];
    fields.require_one_of(&names, &[("custom", "there are no matcher extensions")]);
    // `exact` may be empty; the others would then match everything, which Envoy refuses as well.
    let exact = fields.get("exact", &Kind::Text).and_then(|at| at.text()).map(str::to_owned);
    let part = |name| {
        let at = fields.get(name, &Kind::Text)?;
        let text = at.text()?;
        if text.is_empty() {
            at.rule("must not be empty");
        }
        Some(text.to_owned())
    };
    let kinds = [
        exact.map(StringMatchKind::Exact),
        part("prefix").map(StringMatchKind::Prefix),
        part("suffix").map(StringMatchKind::Suffix),
        part("contains").map(StringMatchKind::Contains),
        fields.message("safe_regex", REGEX, regex).map(StringMatchKind::Regex),
    ];
    let kind = kinds.into_iter().flatten().next();
    let ignore_case = fields.flag("ignore_case", false);
    if ignore_case
        && matches!(kind, Some(StringMatchKind::Regex(_)))
        && let Some(at) = fields.get("ignore_case", &Kind::Flag)
    {
        at.rule("has no effect on a regular expression; begin it with (?i)");
    }
    Some(StringMatch { kind: kind?, ignore_case })
}

pub(crate) fn regex(fields: &Fields<'_>) -> Option<FullRegex> {
    // Deprecated, and everywhere in configurations of some age.
    fields.message("google_re2", RE2, |_| Some(()));
    let source = fields.require_text("regex")?;
    let at = fields.get("regex", &Kind::Regex)?;
    match FullRegex::new(source) {
        Ok(regex) => Some(regex),
        Err(error) => {
            at.report(Problem::Regex(reason(&error)));
            None
        }
    }
}

/// The error in one line: the crate draws the expression first and names the reason last.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}
