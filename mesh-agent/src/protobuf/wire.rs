//! The wire format of protobuf, read and written: tags, and values of four shapes.
//!
//! Groups, which proto3 does not have, are refused with everything else that is no proper encoding.

/// A value as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire<'b> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'b [u8]),
}

/// Bytes that are no encoding of anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// What is left to be read of a message, or of a packed list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'b>(pub(crate) &'b [u8]);

impl<'b> Reader<'b> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next field's number and value. `None` at the end.
    pub(crate) fn field(&mut self) -> Result<Option<(u32, Wire<'b>)>, Malformed> {
        if self.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..=LARGEST_NUMBER).contains(number));
        let number = number.ok_or(Malformed("has a field with an impossible number"))?;
        let value = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(self.fixed64()?),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| CUT)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed32(self.fixed32()?),
            _ => return Err(Malformed("has a value of a wire type that proto3 does not have")),
        };
        Ok(Some((number, value)))
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for (index, byte) in self.0.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.0 = &self.0[index + 1..];
                // The tenth byte holds one bit.
                return if index == 9 && *byte > 1 { Err(LONG) } else { Ok(value) };
            }
        }
        Err(if self.0.len() < 10 { CUT } else { LONG })
    }

    pub(crate) fn fixed64(&mut self) -> Result<u64, Malformed> {
        self.take(8)?.try_into().map(u64::from_le_bytes).map_err(|_| CUT)
    }

    pub(crate) fn fixed32(&mut self) -> Result<u32, Malformed> {
        self.take(4)?.try_into().map(u32::from_le_bytes).map_err(|_| CUT)
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(CUT)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// A message that is being written.
#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn number(&mut self, field: u32, value: u64) {
        self.tag(field, 0);
        self.varint(value);
    }

    pub(crate) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.tag(field, 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    pub(crate) fn fixed32(&mut self, field: u32, value: u32) {
        self.tag(field, 5);
        self.0.extend(value.to_le_bytes());
    }

    pub(crate) fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    pub(crate) fn varint(&mut self, value: u64) {
        let mut left = value;
        while left >= 0x80 {
            self.0.push((left & 0x7f) as u8 | 0x80);
            left >>= 7;
        }
        self.0.push(left as u8);
    }

    fn tag(&mut self, field: u32, wire: u8) {
        self.varint(u64::from(field) << 3 | u64::from(wire));
    }
}

const LARGEST_NUMBER: u32 = (1 << 29) - 1;
const CUT: Malformed = Malformed("ends in the middle of a value");
const LONG: Malformed = Malformed("has a number of more than 64 bits");

#[cfg(test)]
mod tests {
    use super::{CUT, LONG, Reader, Wire, Writer};

    #[test]
    fn fields_of_every_shape() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 1, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0, 0, 0];
        let mut reader = Reader(&bytes);
        let mut next = || reader.field().expect("proper");
        assert_eq!(next(), Some((1, Wire::Varint(150))));
        assert_eq!(next(), Some((2, Wire::Bytes(b"hi"))));
        assert_eq!(next(), Some((3, Wire::Fixed32(1))));
        assert_eq!(next(), Some((4, Wire::Fixed64(2))));
        assert_eq!(next(), None);
    }

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        writer.number(1, u64::MAX);
        writer.bytes(2, b"hi");
        writer.fixed32(3, 7);
        writer.fixed64(16, 8);
        let mut reader = Reader(&writer.0);
        let mut next = || reader.field().expect("proper");
        assert_eq!([next(), next()], [Some((1, Wire::Varint(u64::MAX))), Some((2, Wire::Bytes(b"hi")))]);
        assert_eq!([next(), next()], [Some((3, Wire::Fixed32(7))), Some((16, Wire::Fixed64(8)))]);
    }

    #[test]
    fn varints_have_an_end() {
        assert_eq!(Reader(&[0xff; 9]).varint(), Err(CUT));
        assert_eq!(Reader(&[0xff; 11]).varint(), Err(LONG));
        let mut largest = [0xff; 10];
        largest[9] = 1;
        assert_eq!(Reader(&largest).varint(), Ok(u64::MAX));
        largest[9] = 2;
        assert_eq!(Reader(&largest).varint(), Err(LONG));
    }

    #[test]
    fn what_is_no_field_is_refused() {
        for bytes in [&[0x00][..], &[0x0b], &[0x0c], &[0x0e], &[0x0a, 5, 1], &[0x09, 1], &[0x0d, 1, 2, 3], &[0x08]] {
            assert!(Reader(bytes).field().is_err(), "{bytes:?}");
        }
    }
}
