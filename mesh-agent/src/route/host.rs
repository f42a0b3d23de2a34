//! Virtual hosts by `:authority`.
//!
//! Envoy's order: the exact domain, then the longest `*suffix`, then the longest `prefix*`, then `*`. A star stands for at least one
//! character. Case does not count; the port does.

use std::collections::HashMap;

use crate::model::route::Domain;

/// Maps an authority to the index of a virtual host.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: HashMap<String, usize>,
    suffixes: Vec<(String, usize)>,
    prefixes: Vec<(String, usize)>,
    any: Option<usize>,
}

impl Hosts {
    /// Adds a domain. `false` if it is there already.
    pub(super) fn insert(&mut self, domain: &Domain, host: usize) -> bool {
        match domain {
            Domain::Exact(name) => self.exact.insert(name.clone(), host).is_none(),
            Domain::Suffix(suffix) => insert_longest_first(&mut self.suffixes, suffix, host),
            Domain::Prefix(prefix) => insert_longest_first(&mut self.prefixes, prefix, host),
            Domain::Any => self.any.replace(host).is_none(),
        }
    }

    /// The virtual host for an authority.
    pub(super) fn find(&self, authority: &str) -> Option<usize> {
        if self.exact.is_empty() && self.suffixes.is_empty() && self.prefixes.is_empty() {
            return self.any;
        }
        let lower;
        let authority = if authority.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lower = authority.to_ascii_lowercase();
            &lower
        } else {
            authority
        };
        let longer = |pattern: &str| authority.len() > pattern.len();
        self.exact
            .get(authority)
            .copied()
            .or_else(|| first(&self.suffixes, |suffix| longer(suffix) && authority.ends_with(suffix)))
            .or_else(|| first(&self.prefixes, |prefix| longer(prefix) && authority.starts_with(prefix)))
            .or(self.any)
    }
}

/// Whether `domain` is for `host`, which is in lower case.
pub(super) fn takes(domain: &Domain, host: &str) -> bool {
    match domain {
        Domain::Exact(name) => name == host,
        Domain::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        Domain::Prefix(prefix) => host.len() > prefix.len() && host.starts_with(prefix.as_str()),
        Domain::Any => true,
    }
}

fn insert_longest_first(list: &mut Vec<(String, usize)>, pattern: &str, host: usize) -> bool {
    if list.iter().any(|(other, _)| other == pattern) {
        return false;
    }
    let at = list.partition_point(|(other, _)| other.len() >= pattern.len());
    list.insert(at, (pattern.to_owned(), host));
    true
}

fn first(list: &[(String, usize)], test: impl Fn(&str) -> bool) -> Option<usize> {
    list.iter().find(|(pattern, _)| test(pattern)).map(|(_, host)| *host)
}
