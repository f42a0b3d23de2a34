//! `normalize_path` and `merge_slashes`: one spelling for each path, before it is matched.

use std::borrow::Cow;

use crate::model::filter::HttpConnectionManager;
use crate::proxy::error::{Kind, ProxyError};
use crate::proxy::http::head::RequestHead;

/// Rewrites the request's path as the configuration wants it.
pub(super) fn normalize(config: &HttpConnectionManager, head: &mut RequestHead) -> Result<(), ProxyError> {
    let whole = head.path();
    if !whole.starts_with('/') {
        return Ok(());
    }
    let (path, query) = whole.split_at(whole.find(['?', '#']).unwrap_or(whole.len()));
    let mut normal = Cow::Borrowed(path);
    if config.normalize_path {
        normal = Cow::Owned(resolve_dots(&normal).ok_or(ProxyError::client(Kind::Rejected("path")))?);
    }
    if config.merge_slashes && normal.contains("//") {
        normal = Cow::Owned(merge(&normal));
    }
    if *normal != *path {
        let rewritten = format!("{normal}{query}");
        head.set_path(&rewritten);
    }
    Ok(())
}

/// RFC 3986, 6.2.2.3 and 6.2.2.4: escapes of characters that need none are undone, dot segments resolved, and a backslash is a
/// slash, since servers are known to take it for one. `None`: the path has a NUL.
fn resolve_dots(path: &str) -> Option<String> {
    if path.contains("%00") {
        return None;
    }
    let path = unescape_unreserved(path).replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            "." => {}
            ".." => {
                segments.pop();
            }
            _ => {
                segments.push(part);
                continue;
            }
        }
        if is_last {
            segments.push("");
        }
    }
    Some(format!("/{}", segments.join("/")))
}

/// Undoes escapes of unreserved characters (RFC 3986, 2.3). What is no escape stays as it is.
fn unescape_unreserved(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        plain.push_str(&rest[..at]);
        let escape = rest.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()).map(char::from);
        let (character, length) = match escape {
            Some(byte @ ('a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' | '_' | '~')) => (byte, 3),
            _ => ('%', 1),
        };
        plain.push(character);
        rest = &rest[at + length..];
    }
    plain.push_str(rest);
    plain
}

fn merge(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !merged.ends_with('/') {
            merged.push(character);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::{merge, resolve_dots};

    #[test]
    fn dots_are_resolved() {
        for (path, expect) in [
            ("/a/b/../c", "/a/c"),
            ("/a/./b", "/a/b"),
            ("/a/..", "/"),
            ("/../../a", "/a"),
            ("/a/%2e%2E/b", "/b"),
            ("/a\\..\\b", "/b"),
            ("/a//b", "/a//b"),
            ("/...", "/..."),
            ("/%61/%7Eb/%2F%2", "/a/~b/%2F%2"),
            ("/", "/"),
        ] {
            assert_eq!(resolve_dots(path).as_deref(), Some(expect), "{path}");
        }
        assert_eq!(resolve_dots("/a%00"), None);
    }

    #[test]
    fn slashes_are_merged() {
        assert_eq!(merge("//a///b/"), "/a/b/");
    }
}
