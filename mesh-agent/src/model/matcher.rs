//! Matchers for strings, as `envoy.type.matcher.v3.StringMatcher` and its relatives have them.

use std::fmt;
use std::sync::Arc;

use regex::Regex;

/// A regular expression that must match the whole text, as RE2 does for Envoy.
#[derive(Clone)]
pub struct FullRegex {
    source: Arc<str>,
    compiled: Arc<Regex>,
}

impl FullRegex {
    /// Compiles `source`.
    ///
    /// # Errors
    /// What is wrong with the expression, or that it is too large.
    pub fn new(source: &str) -> Result<Self, regex::Error> {
        // Compiled alone first, so that an error shows the user's own text and `a)(b` can't close our group.
        Regex::new(source)?;
        let compiled = Regex::new(&format!(r"\A(?:{source})\z"))?;
        Ok(Self { source: Arc::from(source), compiled: Arc::new(compiled) })
    }

    /// Whether all of `text` matches.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }

    /// The expression as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl PartialEq for FullRegex {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for FullRegex {}

impl fmt::Debug for FullRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.source)
    }
}

/// `StringMatcher`: how a text is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringMatch {
    /// The comparison.
    pub kind: StringMatchKind,
    /// ASCII case does not count. Never set for a regular expression.
    pub ignore_case: bool,
}

/// The comparison of a [`StringMatch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringMatchKind {
    /// The same text.
    Exact(String),
    /// Begins with it.
    Prefix(String),
    /// Ends with it.
    Suffix(String),
    /// Has it somewhere.
    Contains(String),
    /// The whole text matches.
    Regex(FullRegex),
}

impl StringMatch {
    /// Whether `text` passes.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let lower;
        let (text, fold) = if self.ignore_case {
            lower = text.to_ascii_lowercase();
            (lower.as_str(), true)
        } else {
            (text, false)
        };
        let with = |pattern: &str, test: fn(&str, &str) -> bool| {
            if fold { test(text, &pattern.to_ascii_lowercase()) } else { test(text, pattern) }
        };
        match &self.kind {
            StringMatchKind::Exact(p) => with(p, |t, p| t == p),
            StringMatchKind::Prefix(p) => with(p, |t, p| t.starts_with(p)),
            StringMatchKind::Suffix(p) => with(p, |t, p| t.ends_with(p)),
            StringMatchKind::Contains(p) => with(p, |t, p| t.contains(p)),
            StringMatchKind::Regex(regex) => regex.is_match(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FullRegex, StringMatch, StringMatchKind};

    #[test]
    fn regex_matches_the_whole_text() {
        let regex = FullRegex::new("a|bc").expect("valid");
        assert!(regex.is_match("a"));
        assert!(regex.is_match("bc"));
        assert!(!regex.is_match("abc"), "the alternatives are grouped before they are anchored");
        assert!(FullRegex::new("a)(b").is_err());
    }

    #[test]
    fn case_is_folded_on_both_sides() {
        let exact = StringMatch { kind: StringMatchKind::Exact("GoLD".into()), ignore_case: true };
        assert!(exact.matches("gOld"));
        assert!(!exact.matches("golden"));
    }
}
