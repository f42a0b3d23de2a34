//! A resource's name, read from its bytes without decoding the rest: in every kind of resource it is field 1.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::model::name::LONGEST_NAME;

/// The name in an encoded resource, or what is wrong.
pub(super) fn of(body: &[u8]) -> Result<&str, String> {
    let unreadable = |error: prost::DecodeError| format!("the resource cannot be read: {error}");
    let mut rest = body;
    let mut found: &[u8] = &[];
    while !rest.is_empty() {
        let (tag, wire_type) = decode_key(&mut rest).map_err(unreadable)?;
        if (tag, wire_type) == (1, WireType::LengthDelimited) {
            let length = decode_varint(&mut rest).map_err(unreadable)?;
            let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
            let length = length.ok_or("the resource cannot be read: it ends within its name")?;
            // A field that is set twice counts as set last.
            (found, rest) = rest.split_at(length);
        } else {
            skip_field(wire_type, tag, &mut rest, DecodeContext::default()).map_err(unreadable)?;
        }
    }
    if found.len() > LONGEST_NAME {
        return Err(too_long(found.len()));
    }
    std::str::from_utf8(found).map_err(|_| "the resource's name is not UTF-8".to_owned())
}

/// Whether a name can be used.
pub(super) fn check(name: &str) -> Result<(), String> {
    match name.len() {
        0 => Err("a resource without a name".to_owned()),
        length if length > LONGEST_NAME => Err(too_long(length)),
        _ => Ok(()),
    }
}

/// A name for a one-line message: escaped, and cut if it is long.
pub(super) fn quote(name: &str) -> String {
    const SHOWN: usize = 200;
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}...", &name[..end]),
        None => format!("{name:?}"),
    }
}

fn too_long(length: usize) -> String {
    format!("a resource whose name is {length} bytes long; the limit is {LONGEST_NAME}")
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn a_name_is_found_among_other_fields() {
        // 2: varint 5, 1: "ab", 3: fixed32, 1 as a varint is something else.
        assert_eq!(of(&[0x10, 5, 0x0a, 2, b'a', b'b', 0x1d, 0, 0, 0, 0, 0x08, 1]), Ok("ab"));
        assert_eq!(of(&[0x0a, 1, b'a', 0x0a, 1, b'b']), Ok("b"), "the last one counts");
        assert_eq!(of(&[]), Ok(""));
    }

    #[test]
    fn garbage_is_an_error() {
        for bad in [&[0x0a, 5, b'a'][..], &[0xff], &[0x0a, 0xff, 0xff], &[0x0a, 1, 0xff], &[0x07]] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
        let mut long = vec![0x0a, 0x80, 0x80, 0x40];
        long.resize(4 + (1 << 20), b'x');
        assert!(of(&long).expect_err("too long").contains("1048576 bytes"));
    }
}
