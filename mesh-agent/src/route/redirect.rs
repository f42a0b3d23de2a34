//! The `location` of a redirect (`RedirectAction`), put together as Envoy does it.

use std::fmt::Write;

use crate::model::route::{PathMatch, Redirect, RedirectPath, RedirectScheme};
use crate::route::{RequestView, path};

/// Where `redirect` sends a request that `matched` let pass.
#[must_use]
pub fn location(redirect: &Redirect, matched: &PathMatch, request: &impl RequestView) -> String {
    let scheme = match &redirect.scheme {
        RedirectScheme::Keep => request.scheme(),
        RedirectScheme::Https => "https",
        RedirectScheme::Literal(scheme) => scheme,
    };
    let mut location = format!("{scheme}://");
    match &redirect.host {
        Some(host) => location.push_str(host),
        None => location.push_str(host_for(request, scheme, redirect.port.is_some())),
    }
    if let Some(port) = redirect.port {
        write!(location, ":{port}").expect("writing to a string cannot fail");
    }
    push_path(&mut location, redirect, matched, request.path());
    location
}

/// The request's host. Its port goes when another is set, or when it is the old scheme's own and the scheme changes.
fn host_for<'a>(request: &'a impl RequestView, scheme: &str, port_is_set: bool) -> &'a str {
    let authority = request.authority();
    let Some((host, port)) = split_port(authority) else { return authority };
    let own_port = matches!((request.scheme(), port), ("http", "80") | ("https", "443"));
    if port_is_set || (own_port && scheme != request.scheme()) { host } else { authority }
}

/// Host and port; a colon inside the brackets of an IPv6 address is not a port's.
fn split_port(authority: &str) -> Option<(&str, &str)> {
    let (host, port) = authority.rsplit_once(':')?;
    (!port.contains(']')).then_some((host, port))
}

fn push_path(location: &mut String, redirect: &Redirect, matched: &PathMatch, request_path: &str) {
    let bare = path::without_query(request_path);
    let query = if redirect.strip_query { "" } else { &request_path[bare.len()..] };
    match &redirect.path {
        // A query of its own takes precedence over the request's and is never stripped.
        RedirectPath::Replace(path) if path.contains('?') => location.push_str(path),
        RedirectPath::Replace(path) => {
            location.push_str(path);
            location.push_str(query);
        }
        RedirectPath::Prefix(prefix) => {
            location.push_str(&path::rewrite(matched, bare, prefix));
            location.push_str(query);
        }
        RedirectPath::Keep => {
            location.push_str(bare);
            location.push_str(query);
        }
    }
}
