//! Records of the journal: what one is on disk, and what to make of bytes that are none.
//!
//! ```text
//! head     length of the payload (4), checksum of the payload (4), checksum of these eight bytes (4)
//! payload  what it is (1), milliseconds since 1970 (8), then texts, each behind its length (4); the last one needs none
//! ```
//!
//! Numbers are little-endian. The head has a checksum of its own because of what a damaged length would do: everything behind it
//! would look like a record that was never finished. A record that was never finished can only be the last; it is *torn*, and the rest is
//! good. Anything else that does not fit is *damaged*, and then nothing is believed.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;

use crate::model::resource::ResourceKind;

/// What a file of records begins with. Another form gets another number.
pub(super) const MAGIC: &[u8; 16] = b"bowline kept 1\n\0";
pub(super) const HEAD: usize = 12;
/// More than a response can have; nothing is read into memory that claims more.
const LONGEST: u32 = 80 << 20;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// A resource is live.
    Put { kind: ResourceKind, name: Arc<str>, version: Arc<str>, body: Bytes },
    /// It is no more.
    Remove { kind: ResourceKind, name: Arc<str> },
    /// What follows comes from that server.
    Server(String),
}

/// What stands next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A record, when it was written (milliseconds since 1970), and how many bytes it takes.
    Record(Record, u64, u64),
    /// Nothing more.
    End,
    /// A record that was never finished.
    Torn,
    /// Something that nobody wrote.
    Damaged(&'static str),
}

impl Record {
    /// Appends it to `bytes`: how many more those are.
    pub(super) fn write(&self, millis: u64, bytes: &mut Vec<u8>) -> u64 {
        let start = bytes.len();
        bytes.extend([0; HEAD]);
        bytes.push(match self {
            Self::Put { .. } => 1,
            Self::Remove { .. } => 2,
            Self::Server(_) => 3,
        });
        bytes.extend(millis.to_le_bytes());
        match self {
            Self::Put { kind, name, version, body } => {
                [kind.service(), name, version].into_iter().for_each(|text| write_text(text, bytes));
                bytes.extend_from_slice(body);
            }
            Self::Remove { kind, name } => [kind.service(), name].into_iter().for_each(|text| write_text(text, bytes)),
            Self::Server(name) => write_text(name, bytes),
        }
        let length = u32::try_from(bytes.len() - start - HEAD).unwrap_or(u32::MAX);
        let payload = checksum(&bytes[start + HEAD..]);
        bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        bytes[start + 4..start + 8].copy_from_slice(&payload.to_le_bytes());
        let head = checksum(&bytes[start..start + 8]);
        bytes[start + 8..start + 12].copy_from_slice(&head.to_le_bytes());
        (bytes.len() - start) as u64
    }
}

/// Reads what stands next, with so many bytes `left` in the file.
pub(super) fn next(file: &mut impl Read, left: u64) -> io::Result<Next> {
    if left == 0 {
        return Ok(Next::End);
    }
    if left < HEAD as u64 {
        return Ok(Next::Torn);
    }
    let mut head = [0; HEAD];
    file.read_exact(&mut head)?;
    let [length, payload, own] =
        [0, 4, 8].map(|at| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
    if checksum(&head[..8]) != own {
        // A file system that lost its power may have given the file its length and not its content.
        return Ok(if head == [0; HEAD] && is_zero(file)? {
            Next::Torn
        } else {
            Next::Damaged("the head of a record")
        });
    }
    let size = HEAD as u64 + u64::from(length);
    if length > LONGEST {
        return Ok(Next::Damaged("the length of a record"));
    }
    if size > left {
        return Ok(Next::Torn);
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact(&mut bytes)?;
    if checksum(&bytes) != payload {
        return Ok(if size == left { Next::Torn } else { Next::Damaged("a record") });
    }
    Ok(parse(&Bytes::from(bytes))
        .map_or(Next::Damaged("what a record says"), |(record, millis)| Next::Record(record, millis, size)))
}

fn parse(payload: &Bytes) -> Option<(Record, u64)> {
    let (what, rest) = payload.split_first()?;
    let (millis, mut rest) = rest.split_first_chunk()?;
    let mut text = || -> Option<Arc<str>> {
        let (length, after) = rest.split_first_chunk()?;
        let (text, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = after;
        str::from_utf8(text).ok().map(Arc::from)
    };
    let kind = |service: Arc<str>| ResourceKind::ALL.into_iter().find(|kind| *kind.service() == *service);
    let record = match what {
        1 => {
            let (kind, name, version) = (kind(text()?)?, text()?, text()?);
            Record::Put { kind, name, version, body: payload.slice_ref(rest) }
        }
        2 => Record::Remove { kind: kind(text()?)?, name: text()? },
        3 => Record::Server(text()?.to_string()),
        _ => return None,
    };
    Some((record, u64::from_le_bytes(*millis)))
}

fn write_text(text: &str, bytes: &mut Vec<u8>) {
    bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

fn is_zero(file: &mut impl Read) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(true),
            read if buffer[..read].iter().any(|byte| *byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

/// CRC-32, as in Ethernet and zip: finds every single damaged byte.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| (sum >> 8) ^ TABLE[((sum ^ u32::from(*byte)) & 0xff) as usize];
    !bytes.iter().fold(!0, step)
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::{MAGIC, Next, Record, checksum, next};
    use crate::model::resource::ResourceKind;

    fn records() -> [Record; 3] {
        let (kind, name) = (ResourceKind::Cluster, "a\u{e9}".into());
        let put = Record::Put { kind, name, version: "7".into(), body: vec![0, 1, 0xff].into() };
        [Record::Server("s".into()), put, Record::Remove { kind: ResourceKind::Route, name: "b".into() }]
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!((checksum(b"123456789"), MAGIC.len()), (0xcbf4_3926, 16));
        let mut bytes = Vec::new();
        for record in records() {
            record.write(5, &mut bytes);
        }
        let mut rest = bytes.as_slice();
        for record in records() {
            let left = rest.len() as u64;
            let Next::Record(read, 5, size) = next(&mut rest, left).unwrap() else { panic!("a record") };
            assert_eq!((read, left - size), (record, rest.len() as u64));
        }
        assert_eq!(next(&mut rest, 0).unwrap(), Next::End);
    }

    #[test]
    fn of_every_beginning_the_last_record_is_torn() {
        let mut bytes = Vec::new();
        records()[1].write(5, &mut bytes);
        for length in 1..bytes.len() {
            assert_eq!(next(&mut &bytes[..length], length as u64).unwrap(), Next::Torn, "{length}");
        }
        assert_eq!(next(&mut &[0; 100][..], 100).unwrap(), Next::Torn);
    }

    #[test]
    fn a_damaged_byte_is_found_wherever_it_is() {
        let mut bytes = Vec::new();
        for record in records() {
            record.write(5, &mut bytes);
        }
        let first = records()[0].write(5, &mut Vec::new());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            let mut rest = damaged.as_slice();
            let mut sound = 0;
            let end = loop {
                let left = rest.len() as u64;
                match next(&mut rest, left).unwrap() {
                    Next::Record(record, ..) => assert_eq!(record, records()[sound], "{at}"),
                    end => break end,
                }
                sound += 1;
            };
            assert!(matches!(end, Next::Damaged(_) | Next::Torn), "{at}: {end:?}");
            assert!((at as u64) >= first || (sound == 0 && end != Next::Torn), "{at}: {end:?}");
        }
    }
}
