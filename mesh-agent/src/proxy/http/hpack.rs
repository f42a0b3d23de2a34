//! HPACK (RFC 7541): how HTTP/2 writes headers.
//!
//! Both directions work on slices and hand fields over one by one, so that a header goes from the wire into a head's own memory
//! with one copy. The peer decides how much work a block is only up to its length: the table is bounded by what we announced, and
//! a field is lent, not built. What a head may measure is its reader's business, who can stop copying and let the block
//! be decoded to its end: the tables of both sides must stay the same.

mod decode;
mod encode;
mod huffman;
mod integer;
mod table;
#[cfg(test)]
mod tests;

pub(super) use decode::Decoder;
pub(super) use encode::Encoder;

/// Size of a dynamic table where nothing else was agreed on.
pub(super) const TABLE_SIZE: usize = 4096;

/// A block that is not HPACK: the connection can't go on, because the tables no longer agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HpackError {
    /// It ends in the middle of a field.
    #[error("header block ends too early")]
    Truncated,
    /// A number larger than any that has a meaning.
    #[error("number too large")]
    Overflow,
    /// No field has this index.
    #[error("no field has this index")]
    Index,
    /// Huffman code with a wrong ending, or with the symbol that must not occur.
    #[error("malformed Huffman code")]
    Huffman,
    /// The table is made larger than allowed, or in the middle of a block.
    #[error("table size not allowed here")]
    TableSize,
}
