//! Bodies, whole and byte by byte.

use super::{Decoder, Framing};
use crate::proxy::http::body::{Fill, StreamError};
use crate::proxy::http::h1::buffer::Input;

/// Decodes `wire`, given to the decoder in pieces of `size` bytes: the body, and what is left of the wire after it.
fn decode(framing: Framing, wire: &[u8], size: usize) -> Result<(Vec<u8>, usize), StreamError> {
    let mut decoder = Decoder::default();
    decoder.start(framing);
    let (mut body, mut rest, mut given) = (Vec::new(), Vec::new(), 0);
    loop {
        // What the decoder has left, and the next piece.
        let mut input = Input::with(&rest);
        match decoder.fill(&mut input)? {
            Some(Fill::End) => return Ok((body, input.len() + wire.len() - given)),
            Some(Fill::Data) => {
                let count = decoder.at_hand(input.len());
                body.extend_from_slice(&input.bytes()[..count]);
                input.consume(count);
                decoder.used(count);
                rest = input.bytes().to_vec();
            }
            None => {
                rest = input.bytes().to_vec();
                if given == wire.len() {
                    return decoder.input_ended().map(|_| (body, rest.len()));
                }
                let end = (given + size).min(wire.len());
                rest.extend_from_slice(&wire[given..end]);
                given = end;
            }
        }
    }
}

#[test]
fn bodies_are_the_same_however_they_come() {
    for (framing, wire, body, left) in [
        (Framing::Length(5), &b"helloGET"[..], &b"hello"[..], 3),
        (Framing::Length(0), b"GET", b"", 3),
        (Framing::Close, b"all of it", b"all of it", 0),
        (Framing::Chunked, b"0\r\n\r\nGET", b"", 3),
        (Framing::Chunked, b"5\r\nhello\r\n0\r\n\r\n", b"hello", 0),
        (Framing::Chunked, b"5;a=b;c=\"d\"\r\nhello\r\n00A \r\n0123456789\r\n0;x\r\n\r\n", b"hello0123456789", 0),
        (Framing::Chunked, b"1\r\na\r\n1\r\nb\r\n0\r\nX-End: 1\r\nY: 2\r\n\r\nGET", b"ab", 3),
    ] {
        for size in 1..=wire.len() {
            let decoded = decode(framing, wire, size).expect("valid");
            assert_eq!(decoded, (body.to_vec(), left), "{} by {size}", wire.escape_ascii());
        }
    }
}

#[test]
fn broken_bodies_are_refused() {
    for wire in [
        &b"x\r\n"[..],
        b"\r\n",
        b"-1\r\n",
        b"0x5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\rhello\r\n",
        b"5 5\r\nhello\r\n",
        b"5;a\nhello\r\n",
        b"5;a\0\r\nhello\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\n",
        b"0\r\nx : y\r\n\r\n",
        b"0\r\n x: y\r\n\r\n",
        b"10000000000000000\r\n",
        b"fffffffffffffffff\r\n",
    ] {
        for size in [1, wire.len()] {
            let decoded = decode(Framing::Chunked, wire, size);
            assert!(
                matches!(decoded, Err(StreamError::Malformed(_))),
                "{} by {size}: {decoded:?}",
                wire.escape_ascii()
            );
        }
    }
}

#[test]
fn bodies_that_break_off_are_not_whole() {
    for (framing, wire) in
        [(Framing::Length(5), &b"hell"[..]), (Framing::Chunked, b"5\r\nhello\r\n"), (Framing::Chunked, b"5\r\nhe")]
    {
        assert!(matches!(decode(framing, wire, 1), Err(StreamError::Closed)));
    }
}

#[test]
fn endless_extensions_are_refused() {
    let wire = [&b"5;"[..], &vec![b'a'; 10_000]].concat();
    assert!(matches!(decode(Framing::Chunked, &wire, 100), Err(StreamError::Malformed(_))));
}

#[test]
fn trailers_are_kept() {
    let mut decoder = Decoder::default();
    decoder.start(Framing::Chunked);
    let mut input = Input::with(b"0\r\nX-End: 1\r\n\r\n");
    assert!(matches!(decoder.fill(&mut input), Ok(Some(Fill::End))));
    assert_eq!(decoder.trailers().map(|fields| fields.iter().count()), Some(1));
}
