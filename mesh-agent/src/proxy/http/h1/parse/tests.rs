//! Heads that pass, heads that don't, and heads that come in pieces.

use super::{EndSearch, HeadLimits, ParseError, content_length, is_chunked, request, response, trailers};
use crate::proxy::http::fields::Fields;
use crate::proxy::http::head::{RequestHead, ResponseHead, Version};
use crate::proxy::http::name::Name;

const LIMITS: HeadLimits = HeadLimits { bytes: 1024, headers: 5 };

fn parse(text: &str) -> Result<Option<RequestHead>, ParseError> {
    let mut head = RequestHead::default();
    Ok(request(text.as_bytes(), LIMITS, &mut head)?.map(|size| {
        assert_eq!(size, text.len());
        head
    }))
}

#[test]
fn targets_are_taken_apart() {
    for (line, authority, path) in [
        ("GET /a?b", "h", "/a?b"),
        ("OPTIONS *", "h", "*"),
        ("GET http://other:8080/x?y", "other:8080", "/x?y"),
        ("GET HTTP://other", "other", "/"),
        ("GET http://other?q", "other", "/?q"),
        ("CONNECT other:443", "other:443", ""),
    ] {
        let head = parse(&format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n")).expect("valid").expect("whole");
        assert_eq!((head.authority(), head.path()), (authority, path), "{line}");
        assert!(!head.fields.contains(Name::Host), "the host is no field");
    }
}

#[test]
fn malformed_requests_are_refused() {
    for text in [
        "GET / HTTP/1.1\nhost: h\n\n",
        "GET / HTTP/1.1\r\nhost: h\n\r\n",
        "GET / HTTP/1.1\r\nhost : h\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: h\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\n x: first\r\n\r\n",
        "GET / HTTP/1.1\r\n: empty\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nx: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nx: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nx\0: b\r\n\r\n",
        "GET / HTTP/1.1\r\nx: \x7f\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET /a b HTTP/1.1\r\n\r\n",
        "GET /é HTTP/1.1\r\n\r\n",
        "GET path HTTP/1.1\r\n\r\n",
        "GET ftp://h/ HTTP/1.1\r\n\r\n",
        "GET http:///x HTTP/1.1\r\n\r\n",
        "GET http://user@h/ HTTP/1.1\r\n\r\n",
        "G@T / HTTP/1.1\r\n\r\n",
        "get / HTTP/1.1\r\n\r\n",
        "GET / http/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    ] {
        assert!(matches!(parse(text), Err(ParseError::Malformed(_))), "{text:?}");
    }
}

#[test]
fn other_versions_are_told_from_garbage() {
    for (line, refusal) in [
        ("GET / HTTP/1.2", ParseError::Version),
        ("GET / HTTP/2.0", ParseError::Version),
        ("GET / HTTP/0.9", ParseError::Version),
        ("GET /", ParseError::Version),
        ("GET /a b HTTP/1.1", ParseError::Malformed("version")),
    ] {
        assert_eq!(parse(&format!("{line}\r\n\r\n")).map(drop), Err(refusal), "{line}");
    }
    let old = parse("GET / HTTP/1.0\r\n\r\n").expect("valid").expect("whole");
    assert_eq!(old.version, Version::Http10);
}

#[test]
fn heads_are_limited() {
    let headers = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert!(parse(&headers(5)).expect("within the limit").is_some());
    assert_eq!(parse(&headers(6)).map(drop), Err(ParseError::TooManyHeaders));
    let long = |size| format!("GET / HTTP/1.1\r\na: {}\r\n", "b".repeat(size));
    assert!(parse(&long(900)).expect("may go on").is_none());
    assert_eq!(parse(&long(1100)).map(drop), Err(ParseError::TooLarge));
}

#[test]
fn pieces_of_a_head_are_incomplete() {
    let whole = "GET /path HTTP/1.1\r\nHost: h\r\nX-A: b\r\n\r\n";
    for end in 0..whole.len() {
        assert!(parse(&whole[..end]).expect("not wrong").is_none(), "{:?}", &whole[..end]);
    }
}

#[test]
fn the_end_is_found_wherever_the_pieces_break() {
    let whole = b"GET / HTTP/1.1\r\nHost: some.long.name.example\r\nX-A: b\r\n\r\n";
    for cut in 1..whole.len() {
        let mut search = EndSearch::default();
        search.worth_parsing(&whole[..cut]);
        assert!(search.worth_parsing(whole), "cut at {cut}");
    }
    let mut search = EndSearch::default();
    let parsed = (1..whole.len()).filter(|end| search.worth_parsing(&whole[..*end])).count();
    assert!(parsed < 10, "byte by byte, parsed {parsed} times");
}

#[test]
fn responses_are_parsed_as_strictly() {
    let mut head = ResponseHead::default();
    let text = b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n";
    assert_eq!(response(text, LIMITS, &mut head), Ok(Some(text.len())));
    assert_eq!((head.status.as_u16(), head.fields.get(Name::Server)), (204, Some(&b"x"[..])));
    for text in
        ["HTTP/1.1 2x0 OK\r\n\r\n", "HTTP/1.1 200 OK\n\n", "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n", "garbage\r\n\r\n"]
    {
        assert!(response(text.as_bytes(), LIMITS, &mut head).is_err(), "{text:?}");
    }
}

#[test]
fn framing_has_one_reading() {
    let fields = |headers: &[(&str, &str)]| {
        let mut fields = Fields::default();
        for (name, value) in headers {
            fields.append_raw(name.as_bytes(), value.as_bytes());
        }
        fields
    };
    assert_eq!(content_length(&fields(&[])), Ok(None));
    assert_eq!(content_length(&fields(&[("content-length", "0012")])), Ok(Some(12)));
    for bad in ["", "+1", "-1", "0x1", "1 2", "1,1", "1;", "18446744073709551616"] {
        assert!(content_length(&fields(&[("content-length", bad)])).is_err(), "{bad:?}");
    }
    assert!(content_length(&fields(&[("content-length", "1"), ("content-length", "1")])).is_err());
    assert_eq!(is_chunked(&fields(&[("transfer-encoding", "Chunked")])), Ok(true));
    for bad in ["", "gzip", "gzip, chunked", "chunked, chunked", "xchunked", "\"chunked\"", "chunked;q"] {
        assert_eq!(is_chunked(&fields(&[("transfer-encoding", bad)])), Err(ParseError::TransferEncoding), "{bad:?}");
    }
}

#[test]
fn trailers_end_with_an_empty_line() {
    let mut fields = Fields::default();
    assert_eq!(trailers(b"\r\nrest", LIMITS, &mut fields), Ok(Some(2)));
    assert_eq!(trailers(b"X-End: 1\r\n\r\nrest", LIMITS, &mut fields), Ok(Some(12)));
    assert_eq!(fields.all_of("x-end").collect::<Vec<_>>(), [b"1"]);
    assert_eq!(trailers(b"X-End: 1\r\n", LIMITS, &mut fields), Ok(None));
    assert!(trailers(b"X-End : 1\r\n\r\n", LIMITS, &mut fields).is_err());
    assert!(trailers(b"X-End: 1\n\n", LIMITS, &mut fields).is_err());
}
