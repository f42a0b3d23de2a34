//! Answers the agent gives itself: errors, redirects, direct responses. A gRPC client gets them as gRPC wants them.

use http::StatusCode;
use std::task::{Context, Poll};

use crate::proxy::http::body::{Fill, Source, StreamError};
use crate::proxy::http::fields::Fields;
use crate::proxy::http::head::{BodySize, RequestHead, ResponseHead};
use crate::proxy::http::headers::decimal;
use crate::proxy::http::name::Name;

/// Fills in the head of an answer with `body`; what of `body` is to follow it.
pub(super) fn fill<'b>(request: &RequestHead, head: &mut ResponseHead, status: StatusCode, body: &'b [u8]) -> &'b [u8] {
    head.clear();
    if request.is_grpc() {
        head.fields.append(Name::ContentType, b"application/grpc");
        let mut digits = [0; 20];
        head.fields.append(Name::GrpcStatus, decimal(grpc_status(status), &mut digits));
        if !body.is_empty() {
            head.fields.append(Name::GrpcMessage, &percent_encode(body));
        }
        return b"";
    }
    head.status = status;
    if !body.is_empty() {
        let mut digits = [0; 20];
        head.fields.append(Name::ContentLength, decimal(body.len() as u64, &mut digits));
        head.fields.append(Name::ContentType, b"text/plain");
    }
    body
}

/// A body that is at hand.
#[derive(Debug)]
pub(super) struct Fixed<'b>(pub(super) &'b [u8]);

impl Fixed<'_> {
    pub(super) fn size(&self) -> BodySize {
        if self.0.is_empty() { BodySize::Empty } else { BodySize::Known(self.0.len() as u64) }
    }
}

impl Source for Fixed<'_> {
    fn poll_fill(&mut self, _: &mut Context<'_>) -> Poll<Result<Fill, StreamError>> {
        Poll::Ready(Ok(if self.0.is_empty() { Fill::End } else { Fill::Data }))
    }

    fn chunk(&self) -> &[u8] {
        self.0
    }

    fn consume(&mut self, count: usize) {
        self.0 = &self.0[count..];
    }

    fn trailers(&mut self) -> Option<&Fields> {
        None
    }
}

/// gRPC's code for a status of HTTP, after gRPC's own table. There is none for success: gRPC has no such answer without a message.
fn grpc_status(status: StatusCode) -> u64 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// As gRPC writes messages in a header.
fn percent_encode(text: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = Vec::with_capacity(text.len());
    for &byte in text {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(byte);
        } else {
            encoded.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::fill;
    use crate::proxy::http::head::{RequestHead, ResponseHead};
    use crate::proxy::http::name::Name;

    #[test]
    fn grpc_clients_get_a_status_of_grpc() {
        let (mut request, mut response) = (RequestHead::default(), ResponseHead::default());
        request.fields.append(Name::ContentType, b"application/grpc+proto");
        let body = fill(&request, &mut response, StatusCode::SERVICE_UNAVAILABLE, "50% ü".as_bytes());
        assert!(body.is_empty());
        assert_eq!(response.status, StatusCode::OK);
        assert_eq!(response.fields.get(Name::GrpcStatus), Some(&b"14"[..]));
        assert_eq!(response.fields.get(Name::GrpcMessage), Some(&b"50%25 %C3%BC"[..]));
    }
}
