//! The Huffman code of RFC 7541, appendix B, for reading.
//!
//! The code is canonical: the lengths of its symbols say all. From them the compiler makes two tables: one that is indexed by the next
//! bits and answers at once for the symbols headers are made of, and one with the first code of each length for the rest. We do not
//! write Huffman code: see [`super::encode`].

use super::HpackError;

/// Bits that are looked up at once.
const DIRECT: u32 = 10;
const LONGEST: usize = 30;

/// Appends what `code` stands for.
pub(super) fn decode(code: &[u8], to: &mut Vec<u8>) -> Result<(), HpackError> {
    let mut bits: u64 = 0;
    let mut count = 0;
    let mut rest = code.iter();
    loop {
        while count <= 56 {
            let Some(byte) = rest.next() else { break };
            bits |= u64::from(*byte) << (56 - count);
            count += 8;
        }
        let (symbol, length) = match TABLES.direct[(bits >> (64 - DIRECT)) as usize] {
            (_, 0) => long(bits)?,
            found => found,
        };
        if u32::from(length) > count {
            // Less than a symbol is left: it has to be padding, shorter than a byte and all ones.
            let padding = u64::MAX.checked_shl(64 - count).unwrap_or(0);
            return if count < 8 && bits == padding { Ok(()) } else { Err(HpackError::Huffman) };
        }
        to.push(symbol);
        bits <<= length;
        count -= u32::from(length);
    }
}

/// A symbol whose code is longer than what is looked up at once.
fn long(bits: u64) -> Result<(u8, u8), HpackError> {
    for length in DIRECT as usize + 1..=LONGEST {
        let code = (bits >> (64 - length)) as u32;
        let nth = code.wrapping_sub(TABLES.first[length]);
        if code >= TABLES.first[length] && nth < TABLES.counts[length] {
            return Ok((TABLES.symbols[(TABLES.offsets[length] + nth) as usize], length as u8));
        }
    }
    // All ones: the end of the string, which must not be written.
    Err(HpackError::Huffman)
}

struct Tables {
    /// By the next bits: symbol and length of its code; 0 where that is longer.
    direct: [(u8, u8); 1 << DIRECT],
    /// By length: the first code, how many there are, and where their symbols begin.
    first: [u32; LONGEST + 1],
    counts: [u32; LONGEST + 1],
    offsets: [u32; LONGEST + 1],
    /// In the order of their codes.
    symbols: [u8; 256],
}

static TABLES: Tables = tables();

const fn tables() -> Tables {
    let mut tables = Tables {
        direct: [(0, 0); 1 << DIRECT],
        first: [0; LONGEST + 1],
        counts: [0; LONGEST + 1],
        offsets: [0; LONGEST + 1],
        symbols: [0; 256],
    };
    let (mut code, mut place, mut length) = (0_u32, 0, 1);
    while length <= LONGEST {
        code <<= 1;
        tables.first[length] = code;
        tables.offsets[length] = place as u32;
        let mut symbol = 0;
        while symbol < 256 {
            if LENGTHS[symbol] as usize == length {
                tables.symbols[place] = symbol as u8;
                if length <= DIRECT as usize {
                    let spare = DIRECT - length as u32;
                    let mut at = (code << spare) as usize;
                    while at < ((code + 1) << spare) as usize {
                        tables.direct[at] = (symbol as u8, length as u8);
                        at += 1;
                    }
                }
                tables.counts[length] += 1;
                code += 1;
                place += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    tables
}

/// Length of each symbol's code.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

#[cfg(test)]
pub(super) fn lengths() -> &'static [u8; 256] {
    &LENGTHS
}
