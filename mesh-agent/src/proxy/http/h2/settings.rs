//! SETTINGS (RFC 9113, 6.5): what each side tells the other about itself.

use crate::proxy::http::h2::reason::{Fault, Reason};
use crate::proxy::http::h2::{Windows, window};

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;

/// What a peer has said and we act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Of its header table; `None`: nothing was said now.
    pub(super) header_table: Option<u32>,
    /// Streams it takes at once.
    pub(super) streams: u32,
    /// Bytes that may be sent to it on a new stream.
    pub(super) window: u32,
}

impl Settings {
    /// What holds as long as the peer has said nothing.
    pub(super) fn assumed(streams: u32) -> Self {
        Self { header_table: None, streams, window: window::DEFAULT }
    }

    /// These, changed by a frame's payload. Larger frames than ours nobody has to send, so their size is only checked.
    pub(super) fn changed_by(mut self, payload: &[u8], from_server: bool) -> Result<Self, Fault> {
        self.header_table = None;
        let (entries, []) = payload.as_chunks::<6>() else {
            return Err(Fault::new(Reason::FRAME_SIZE_ERROR, "SETTINGS of odd size"));
        };
        for [i0, i1, v0, v1, v2, v3] in entries {
            let value = u32::from_be_bytes([*v0, *v1, *v2, *v3]);
            match u16::from_be_bytes([*i0, *i1]) {
                HEADER_TABLE_SIZE => self.header_table = Some(value),
                ENABLE_PUSH if value > u32::from(!from_server) => return Err(Fault::protocol("ENABLE_PUSH")),
                MAX_CONCURRENT_STREAMS => self.streams = value,
                INITIAL_WINDOW_SIZE if i64::from(value) > window::MAX => {
                    return Err(Fault::new(Reason::FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE"));
                }
                INITIAL_WINDOW_SIZE => self.window = value,
                MAX_FRAME_SIZE if !(16_384..1 << 24).contains(&value) => return Err(Fault::protocol("MAX_FRAME_SIZE")),
                _ => {}
            }
        }
        Ok(self)
    }
}

/// What we tell a peer. `push`: it is a server, which is to push nothing.
pub(super) fn ours(windows: Windows, push: bool) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut say = |id: u16, value: u32| {
        payload.extend(id.to_be_bytes());
        payload.extend(value.to_be_bytes());
    };
    if push {
        say(ENABLE_PUSH, 0);
    } else {
        say(MAX_CONCURRENT_STREAMS, windows.streams);
    }
    say(INITIAL_WINDOW_SIZE, windows.stream);
    payload
}
