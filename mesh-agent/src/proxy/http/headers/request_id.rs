//! `x-request-id`: a random UUID (RFC 9562, version 4). It links log lines; it proves nothing, so cheap randomness will do.

use crate::proxy::worker::Worker;

/// Length of a UUID as text.
const LEN: usize = 36;

/// A new id.
pub(super) fn make(worker: &Worker) -> [u8; LEN] {
    let mut bytes = [0; 16];
    for word in bytes.chunks_exact_mut(4) {
        word.copy_from_slice(&worker.random().to_ne_bytes());
    }
    format(bytes)
}

fn format(mut bytes: [u8; 16]) -> [u8; LEN] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = [b'-'; LEN];
    let mut at = 0;
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
        at += 2;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::format;

    #[test]
    fn version_and_variant_are_set() {
        assert_eq!(&format([0xff; 16]), b"ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(&format([0; 16]), b"00000000-0000-4000-8000-000000000000");
    }
}
