//! Heads between our own form and the one of the `http` crate, which the `h2` crate speaks.

use http::header::{CONTENT_LENGTH, HOST};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, request, response};

use crate::proxy::http::body::StreamError;
use crate::proxy::http::fields::Fields;
use crate::proxy::http::head::{RequestHead, ResponseHead, Version};
use crate::proxy::http::name::Name;

/// Copies a request's head into ours.
pub(super) fn from_request(parts: &request::Parts, head: &mut RequestHead) {
    head.clear();
    head.version = Version::Http2;
    head.method = parts.method.clone();
    head.https = parts.uri.scheme() == Some(&Scheme::HTTPS);
    if let Some(path) = parts.uri.path_and_query() {
        head.set_path(path.as_str());
    }
    append(&parts.headers, &mut head.fields);
    join_cookies(&parts.headers, &mut head.fields);
    if let Some(authority) = parts.uri.authority() {
        head.set_authority(authority.as_str());
    } else if let Some(host) = head.fields.get_str(Name::Host).map(str::to_owned) {
        head.set_authority(&host);
    }
    head.fields.remove(Name::Host);
}

/// Whether a request leaves two readings of whom it is for or where it ends, though the crate let it pass. Where HTTP/1 is spoken
/// next, each of these could be read otherwise there.
pub(super) fn is_ambiguous(parts: &request::Parts) -> bool {
    let repeated = |name: HeaderName| parts.headers.get_all(name).iter().nth(1).is_some();
    let authority = parts.uri.authority();
    // Without an authority the crate keeps no scheme.
    let scheme_is_empty = parts.uri.scheme_str().is_none_or(str::is_empty);
    let no_scheme = authority.is_some() && scheme_is_empty && parts.method != Method::CONNECT;
    let with_user = authority.is_some_and(|authority| authority.as_str().contains('@'));
    repeated(CONTENT_LENGTH) || repeated(HOST) || no_scheme || with_user
}

/// A client of HTTP/2 may split its cookies; elsewhere they are one header (RFC 9113, 8.2.3).
fn join_cookies(map: &HeaderMap, fields: &mut Fields) {
    let cookies: Vec<_> = map.get_all(http::header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1 {
        fields.remove_spelled(b"cookie");
        fields.append_raw(b"cookie", &cookies.join(&b"; "[..]));
    }
}

/// Our request's head as the crate wants it.
pub(super) fn to_request(head: &RequestHead) -> Result<Request<()>, StreamError> {
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(if head.https { Scheme::HTTPS } else { Scheme::HTTP });
    uri.authority = Some(Authority::try_from(head.authority()).map_err(|_| StreamError::Malformed("authority"))?);
    uri.path_and_query = Some(PathAndQuery::try_from(head.path()).map_err(|_| StreamError::Malformed("path"))?);
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| StreamError::Malformed("request target"))?;
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = to_map(&head.fields)?;
    Ok(request)
}

/// Copies a response's head into ours.
pub(super) fn from_response(parts: &response::Parts, head: &mut ResponseHead) {
    head.clear();
    head.version = Version::Http2;
    head.status = parts.status;
    append(&parts.headers, &mut head.fields);
}

/// Our response's head as the crate wants it.
pub(super) fn to_response(head: &ResponseHead) -> Result<Response<()>, StreamError> {
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    *response.version_mut() = http::Version::HTTP_2;
    *response.headers_mut() = to_map(&head.fields)?;
    Ok(response)
}

/// Appends all of `map`.
pub(super) fn append(map: &HeaderMap, fields: &mut Fields) {
    for (name, value) in map {
        fields.append_raw(name.as_str().as_bytes(), value.as_bytes());
    }
}

/// Our fields as the crate wants them.
pub(super) fn to_map(fields: &Fields) -> Result<HeaderMap, StreamError> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields.iter() {
        let name = HeaderName::from_bytes(name).map_err(|_| StreamError::Malformed("header name"))?;
        let value = HeaderValue::from_bytes(value).map_err(|_| StreamError::Malformed("header value"))?;
        map.append(name, value);
    }
    Ok(map)
}
