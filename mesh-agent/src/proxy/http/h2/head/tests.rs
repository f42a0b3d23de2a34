//! What a head may say (RFC 9113, 8), and what it becomes.

use super::{HeadError, Limits, RequestReader, ResponseReader, TrailersReader};
use crate::proxy::http::fields::Fields;
use crate::proxy::http::head::{RequestHead, ResponseHead};

const LIMITS: Limits = Limits { bytes: 1000, fields: 10 };

fn fields(text: &str) -> impl Iterator<Item = (&[u8], &[u8])> {
    text.split('|').filter(|field| !field.is_empty()).map(|field| {
        let colon = 1 + field[1..].find(':').expect("a colon");
        (&field.as_bytes()[..colon], &field.as_bytes()[colon + 1..])
    })
}

fn request(text: &str) -> Result<RequestHead, HeadError> {
    let mut head = RequestHead::default();
    let mut reader = RequestReader::new(&mut head, LIMITS);
    fields(text).for_each(|(name, value)| reader.field(name, value));
    reader.end().map(|_| head)
}

fn response(text: &str) -> Result<u16, HeadError> {
    let mut head = ResponseHead::default();
    let mut reader = ResponseReader::new(&mut head, LIMITS);
    fields(text).for_each(|(name, value)| reader.field(name, value));
    reader.end().map(|_| head.status.as_u16())
}

#[test]
fn sound_requests_become_heads() {
    for (text, expect) in [
        (":method:GET|:scheme:http|:authority:a|:path:/x?y", "GET http a /x?y []"),
        (":path:/|:authority:a:80|:scheme:https|:method:PUT", "PUT https a:80 / []"),
        (":method:GET|:scheme:http|:path:/|host:b", "GET http b / []"),
        (":method:GET|:scheme:http|:authority:a|:path:/|host:b", "GET http a / []"),
        (":method:OPTIONS|:scheme:http|:authority:a|:path:*", "OPTIONS http a * []"),
        (":method:CONNECT|:authority:a:1", "CONNECT http a:1  []"),
        (
            ":method:GET|:scheme:http|:authority:a|:path:/|cookie:a=1|x:y|cookie:b=2",
            "GET http a / [x=y cookie=a=1; b=2]",
        ),
        (":method:GET|:scheme:http|:authority:a|:path:/|te:trailers", "GET http a / [te=trailers]"),
        (":method:GET|:scheme:http|:authority:a|:path:/|x:\t é", "GET http a / [x=\t é]"),
        // The fragment is refused later, with an answer.
        (":method:GET|:scheme:http|:authority:a|:path:/#f", "GET http a /#f []"),
    ] {
        let head = request(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        let fields: Vec<String> = head
            .fields
            .iter()
            .map(|(name, value)| format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)))
            .collect();
        let scheme = if head.https { "https" } else { "http" };
        let got = format!("{} {scheme} {} {} [{}]", head.method, head.authority(), head.path(), fields.join(" "));
        assert_eq!(got, expect, "{text}");
    }
}

#[test]
fn requests_with_no_meaning_or_two_are_malformed() {
    const REST: &str = ":method:GET|:scheme:http|:authority:a|:path:/";
    let whole = |more: &str| format!("{REST}|{more}");
    for text in [
        ":scheme:http|:authority:a|:path:/".to_owned(),
        ":method:GET|:authority:a|:path:/".to_owned(),
        ":method:GET|:scheme:http|:authority:a".to_owned(),
        ":method:GET|:scheme:http|:path:/".to_owned(),
        ":method:|:scheme:http|:authority:a|:path:/".to_owned(),
        ":method:GE T|:scheme:http|:authority:a|:path:/".to_owned(),
        ":method:GET|:scheme:|:authority:a|:path:/".to_owned(),
        ":method:GET|:scheme:http|:authority:|:path:/".to_owned(),
        ":method:GET|:scheme:http|:authority:u@a|:path:/".to_owned(),
        ":method:GET|:scheme:http|:authority:a/b|:path:/".to_owned(),
        ":method:GET|:scheme:http|:authority:a|:path:".to_owned(),
        ":method:GET|:scheme:http|:authority:a|:path:x".to_owned(),
        ":method:GET|:scheme:http|:authority:a|:path:http://b/".to_owned(),
        ":method:GET|:scheme:http|:authority:a|:path:/ x".to_owned(),
        ":method:GET|:scheme:http|:authority:a|:path:/\r\nx: y".to_owned(),
        ":method:GET|:scheme:http|:authority:a|:path:/é".to_owned(),
        ":method:GET|:scheme:http|:authority:a|:path:*".to_owned(),
        ":method:CONNECT|:authority:a|:path:/".to_owned(),
        ":method:CONNECT|:scheme:http|:authority:a".to_owned(),
        ":method:CONNECT".to_owned(),
        whole(":method:GET"),
        whole(":scheme:http"),
        whole(":authority:b"),
        whole(":path:/b"),
        whole(":status:200"),
        whole(":protocol:websocket"),
        whole(":own:1"),
        whole("x:y|:path:/"),
        whole("X:y"),
        whole("x y:z"),
        whole("x\0:z"),
        whole("x:a\0b"),
        whole("x:a\rb"),
        whole("x:a\nb"),
        whole("cookie:a\nb"),
        whole("connection:close"),
        whole("keep-alive:1"),
        whole("proxy-connection:close"),
        whole("transfer-encoding:chunked"),
        whole("upgrade:websocket"),
        whole("te:gzip"),
        whole("te:trailers, gzip"),
        whole("content-length:x"),
        whole("content-length:+1"),
        whole("content-length:"),
        whole("content-length:18446744073709551616"),
        whole("content-length:1|content-length:1"),
        ":method:GET|:scheme:http|:path:/|host:a|host:b".to_owned(),
        ":method:GET|:scheme:http|:path:/|host:a b".to_owned(),
    ] {
        assert!(matches!(request(&text), Err(HeadError::Malformed(_))), "{text}: {:?}", request(&text));
    }
}

#[test]
fn responses_have_one_status() {
    for (text, expect) in [(":status:200|a:b", Ok(200)), (":status:103", Ok(103)), (":status:999", Ok(999))] {
        assert_eq!(response(text), expect, "{text}");
    }
    for text in [
        "a:b",
        ":status:20",
        ":status:2000",
        ":status:abc",
        ":status:200|:status:200",
        "a:b|:status:200",
        ":status:200|:path:/",
        ":status:200|connection:close",
        ":status:200|transfer-encoding:chunked",
        ":status:200|A:b",
    ] {
        assert!(matches!(response(text), Err(HeadError::Malformed(_))), "{text}: {:?}", response(text));
    }
}

#[test]
fn trailers_have_no_pseudo_headers() {
    for (text, is_sound) in
        [("grpc-status:0|x:y", true), ("", true), (":path:/", false), ("connection:close", false), ("X:y", false)]
    {
        let mut trailers = Fields::default();
        let mut reader = TrailersReader::new(&mut trailers, LIMITS);
        fields(text).for_each(|(name, value)| reader.field(name, value));
        assert_eq!(reader.end().is_ok(), is_sound, "{text}");
    }
}

#[test]
fn heads_are_limited_in_size_and_number() {
    const REST: &str = ":method:GET|:scheme:http|:authority:a|:path:/";
    let many = format!("{REST}{}", "|x:y".repeat(7));
    assert_eq!(request(&many).err(), Some(HeadError::TooLarge));
    let large = format!("{REST}|x:{}", "y".repeat(1000));
    assert_eq!(request(&large).err(), Some(HeadError::TooLarge));
    // That it is malformed, too, counts more.
    assert!(matches!(request(&format!("X:y|{large}")).err(), Some(HeadError::Malformed(_))));
}
