//! Numbers with a prefix (RFC 7541, 5.1).

use super::HpackError;

/// No index, length or table size that makes sense is larger; a frame could not even hold it.
const MAX: usize = 1 << 28;

/// Reads a number whose first byte has `bits` bits for it, and gives it up from `block`.
pub(super) fn read(block: &mut &[u8], bits: u32) -> Result<usize, HpackError> {
    let (&first, mut rest) = block.split_first().ok_or(HpackError::Truncated)?;
    let mask = (1_usize << bits) - 1;
    let mut value = usize::from(first) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (&byte, after) = rest.split_first().ok_or(HpackError::Truncated)?;
            rest = after;
            value += usize::from(byte & 0x7f) << shift;
            shift += 7;
            // A number can be written with any count of zeros behind it; five bytes are enough for all that count.
            if value > MAX || (shift > 28 && byte & 0x80 != 0) {
                return Err(HpackError::Overflow);
            }
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *block = rest;
    Ok(value)
}

/// Writes a number into `bits` bits of a byte that begins with `pattern`, and as many bytes more as it takes.
pub(super) fn write(to: &mut Vec<u8>, pattern: u8, bits: u32, mut value: usize) {
    let mask = (1_usize << bits) - 1;
    if value < mask {
        return to.push(pattern | value as u8);
    }
    to.push(pattern | mask as u8);
    value -= mask;
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}
