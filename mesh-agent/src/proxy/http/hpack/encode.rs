//! Fields as header blocks.
//!
//! What repeats from message to message goes to the table and costs a byte from then on. Values that are new each time stay out
//! of it, and so do secrets, which RFC 7541, 7.1.3, wants never to be indexed. Strings are written as they are: the
//! Huffman code would take a quarter off what the table leaves, and its price is the agent's and the peer's CPU.

use super::TABLE_SIZE;
use super::integer;
use super::table::{Hash, STATIC, Table, static_name};

/// The sending side of a connection.
#[derive(Debug)]
pub(in super::super) struct Encoder {
    table: Table,
    /// What the peer's table is to be told at the next block: the smallest size in between, and the last.
    resized: Option<(usize, usize)>,
}

impl Encoder {
    pub(in super::super) fn new() -> Self {
        Self { table: Table::new(TABLE_SIZE), resized: None }
    }

    /// The peer keeps a table of `size` at most.
    pub(in super::super) fn resize(&mut self, size: usize) {
        let size = size.min(TABLE_SIZE);
        let lowest = self.resized.map_or(size, |(lowest, _)| lowest.min(size));
        if size != self.table.limit() || self.resized.is_some() {
            self.resized = Some((lowest, size));
        }
        self.table.set_limit(size);
    }

    /// To be called before the first field of a block.
    pub(in super::super) fn begin(&mut self, to: &mut Vec<u8>) {
        if let Some((lowest, last)) = self.resized.take() {
            if lowest < last {
                integer::write(to, 0x20, 5, lowest);
            }
            integer::write(to, 0x20, 5, last);
        }
    }

    /// Writes one field; the name is in lower case.
    pub(in super::super) fn field(&mut self, to: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        let index = static_name(name);
        if let Some(index) = index {
            let same = STATIC[index - 1..].iter().take_while(|(other, _)| *other == name);
            if let Some(nth) = same.clone().position(|(_, other)| !value.is_empty() && *other == value) {
                return integer::write(to, 0x80, 7, index + nth);
            }
        }
        let kind = kind(name, value.len(), self.table.limit());
        let mut insert = kind == Kind::Repeated;
        let mut named = index;
        if kind != Kind::Secret {
            let hash = hash(name, value);
            if let Some(nth) = self.table.position(name, value, hash) {
                return integer::write(to, 0x80, 7, STATIC.len() + 1 + nth);
            }
            if index.is_none() {
                let nth = self.table.position_of_name(name, hash);
                named = nth.map(|nth| STATIC.len() + 1 + nth);
                // Not for its value: so that the name costs a byte from now on.
                insert |= kind == Kind::Changing && nth.is_none();
            }
            if insert {
                self.table.insert(name, value, hash);
            }
        }
        match kind {
            _ if insert => integer::write(to, 0x40, 6, named.unwrap_or(0)),
            Kind::Secret => integer::write(to, 0x10, 4, named.unwrap_or(0)),
            _ => integer::write(to, 0x00, 4, named.unwrap_or(0)),
        }
        if named.is_none() {
            text(to, name);
        }
        text(to, value);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It comes again as it is.
    Repeated,
    /// Its value is another each time.
    Changing,
    /// Larger than what it is worth to keep.
    Large,
    Secret,
}

/// What will become of a field.
fn kind(name: &[u8], value: usize, limit: usize) -> Kind {
    match name {
        // One that large would push out many that come again.
        _ if (name.len() + value) * 4 > limit => Kind::Large,
        b"authorization" | b"proxy-authorization" | b"cookie" | b"set-cookie" => Kind::Secret,
        b":path" | b"content-length" | b"x-request-id" | b"traceparent" | b"etag" | b"age" | b"content-range" => {
            Kind::Changing
        }
        b"x-b3-traceid" | b"x-b3-spanid" | b"x-b3-parentspanid" | b"if-none-match" | b"last-modified" => Kind::Changing,
        b"x-envoy-upstream-service-time" | b"x-envoy-original-path" | b"location" | b"grpc-timeout" => Kind::Changing,
        _ => Kind::Repeated,
    }
}

fn text(to: &mut Vec<u8>, text: &[u8]) {
    integer::write(to, 0, 7, text.len());
    to.extend_from_slice(text);
}

/// Only has to tell apart what stands in one table; a clash costs a comparison.
fn hash(name: &[u8], value: &[u8]) -> Hash {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |mut state: u64, text: &[u8]| {
        let mut words = text.chunks_exact(8);
        for word in &mut words {
            let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
            state = (state.rotate_left(5) ^ word).wrapping_mul(FACTOR);
        }
        for byte in words.remainder() {
            state = (state.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(FACTOR);
        }
        state
    };
    let name = mix(0, name);
    Hash { name: (name >> 32) as u32, field: (mix(name, value) >> 32) as u32 }
}
