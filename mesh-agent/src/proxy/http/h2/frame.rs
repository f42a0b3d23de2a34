//! Frames: their heads, their kinds, and what is wrapped around their payload (RFC 9113, 4 and 6).

use crate::proxy::http::h2::reason::{Fault, Reason};

/// Length of a frame's head.
pub(super) const HEAD: usize = 9;
/// Largest payload that either side sends: what every peer has to take, and all we ask for.
pub(super) const MAX_PAYLOAD: usize = 16_384;

pub(super) const ACK: u8 = 0x1;
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// An extension's, to be ignored.
    Unknown,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Data,
        Self::Headers,
        Self::Priority,
        Self::Reset,
        Self::Settings,
        Self::PushPromise,
        Self::Ping,
        Self::GoAway,
        Self::WindowUpdate,
        Self::Continuation,
    ];
}

/// A frame's head.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameHead {
    pub(super) length: usize,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl FrameHead {
    /// The head at the front of `bytes`, if they are enough.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *bytes.first_chunk::<HEAD>()?;
        Some(Self {
            length: u32::from_be_bytes([0, l0, l1, l2]) as usize,
            kind: Kind::ALL.get(usize::from(kind)).copied().unwrap_or(Kind::Unknown),
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
        })
    }

    pub(super) fn ends_stream(&self) -> bool {
        self.flags & END_STREAM != 0
    }

    pub(super) fn ends_headers(&self) -> bool {
        self.flags & END_HEADERS != 0
    }

    /// Where in the payload of DATA or HEADERS the content is.
    pub(super) fn content(&self, payload: &[u8]) -> Result<std::ops::Range<usize>, Fault> {
        const SHORT: Fault = Fault::new(Reason::FRAME_SIZE_ERROR, "frame too short for its flags");
        let (mut begin, mut padding) = (0, 0);
        if self.flags & PADDED != 0 {
            padding = usize::from(*payload.first().ok_or(SHORT)?);
            begin += 1;
        }
        if self.kind == Kind::Headers && self.flags & PRIORITY != 0 {
            begin += 5;
        }
        if begin > payload.len() {
            return Err(SHORT);
        }
        match payload.len().checked_sub(padding) {
            Some(end) if end >= begin => Ok(begin..end),
            _ => Err(Fault::protocol("more padding than frame")),
        }
    }
}

/// Writes a frame's head.
pub(super) fn head(length: usize, kind: Kind, flags: u8, stream: u32) -> [u8; HEAD] {
    let [_, l0, l1, l2] = (length as u32).to_be_bytes();
    let [s0, s1, s2, s3] = stream.to_be_bytes();
    [l0, l1, l2, kind as u8, flags, s0, s1, s2, s3]
}

/// The four bytes of a payload that must have no others.
pub(super) fn word(payload: &[u8]) -> Result<u32, Fault> {
    let bytes = payload.try_into().map_err(|_| Fault::new(Reason::FRAME_SIZE_ERROR, "frame of four bytes"))?;
    Ok(u32::from_be_bytes(bytes))
}
