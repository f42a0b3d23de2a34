//! Flow control (RFC 9113, 5.2): how much either side may still send, on a stream and on all of a connection.

/// The largest a window can be.
pub(super) const MAX: i64 = (1 << 31) - 1;
/// What a connection begins with.
pub(super) const DEFAULT: u32 = 65_535;

/// What the peer may send.
#[derive(Debug)]
pub(super) struct Receive {
    /// What we keep it at.
    size: u32,
    left: i64,
    /// Used up by now, and not yet given back.
    used: u32,
}

impl Receive {
    pub(super) fn new(size: u32) -> Self {
        Self { size, left: i64::from(size), used: 0 }
    }

    /// So many bytes have come. `false`: more than allowed.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        self.left -= bytes as i64;
        self.left >= 0
    }

    /// So many bytes are used. `Some`: by how much the peer is to be told that the window is larger again; not for each byte.
    pub(super) fn give(&mut self, bytes: usize) -> Option<u32> {
        self.used += bytes as u32;
        if self.used < self.size / 2 || self.used == 0 {
            return None;
        }
        self.left += i64::from(self.used);
        Some(std::mem::take(&mut self.used))
    }
}

/// What we may send.
#[derive(Debug)]
pub(super) struct Send(i64);

impl Send {
    pub(super) fn new(size: u32) -> Self {
        Self(i64::from(size))
    }

    /// How much may be sent now.
    pub(super) fn room(&self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.0 -= bytes as i64;
    }

    /// The peer gives more, or takes back. `false`: that is more than a window can be.
    #[must_use]
    pub(super) fn change(&mut self, by: i64) -> bool {
        self.0 += by;
        self.0 <= MAX
    }
}
