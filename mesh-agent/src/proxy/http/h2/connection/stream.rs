//! What a connection knows of each of its streams.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::task::{Context, Waker};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::proxy::http::fields::Fields;
use crate::proxy::http::h2::reason::Failure;
use crate::proxy::http::h2::settings::Settings;
use crate::proxy::http::h2::{Windows, window};
use crate::proxy::http::head::ResponseHead;

/// Streams by their number.
pub(super) type Streams = HashMap<u32, Stream, BuildHasherDefault<IdHasher>>;

/// What is known of one stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// An answer's head that nobody took yet, and the length it announces.
    pub(super) response: Option<(ResponseHead, Option<u64>)>,
    /// The peer's head is here.
    pub(super) begun: bool,
    data: VecDeque<BytesMut>,
    pub(super) trailers: Option<Fields>,
    /// The peer has ended its side.
    pub(super) received: bool,
    /// Content that is still to come, where the head says how much.
    pub(super) left: Option<u64>,
    /// The answer has no content, whatever its head announces.
    pub(super) is_head: bool,
    pub(super) receive: window::Receive,
    pub(super) send: window::Send,
    /// Our head is on its way.
    pub(super) answered: bool,
    /// We have ended our side.
    pub(super) sent: bool,
    /// Where the flags of the last piece of body are.
    pub(super) last_piece: Option<u64>,
    /// It stands among those that wait for room.
    pub(super) waits: bool,
    pub(super) failure: Option<Failure>,
    pub(super) task: Option<Waker>,
    pub(super) opened: Instant,
}

impl Stream {
    pub(super) fn new(windows: Windows, peer: &Settings, now: Instant) -> Self {
        Self {
            response: None,
            begun: false,
            data: VecDeque::new(),
            trailers: None,
            received: false,
            left: None,
            is_head: false,
            receive: window::Receive::new(windows.stream),
            send: window::Send::new(peer.window),
            answered: false,
            sent: false,
            last_piece: None,
            waits: false,
            failure: None,
            task: None,
            opened: now,
        }
    }

    /// Keeps a piece of content until it is asked for.
    ///
    /// It is a part of what was read at once, and would keep all of that in memory. Only a large piece may: small ones are copied,
    /// and gathered while nobody asks, or a peer could make a byte of its window cost us a thousand.
    pub(super) fn push(&mut self, data: BytesMut) {
        if data.len() >= LARGE {
            return self.data.push_back(data);
        }
        match self.data.back_mut() {
            Some(last) if last.capacity() - last.len() >= data.len() && last.len() < LARGE => {
                last.extend_from_slice(&data)
            }
            last => {
                let mut copy = BytesMut::with_capacity(if last.is_some() { LARGE } else { data.len() });
                copy.extend_from_slice(&data);
                self.data.push_back(copy);
            }
        }
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        self.data.pop_front().map(BytesMut::freeze)
    }

    /// Bytes that nobody has asked for.
    pub(super) fn unread(&self) -> usize {
        self.data.iter().map(BytesMut::len).sum()
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        if self.failure.is_none() {
            self.failure = Some(failure);
        }
        self.wake();
    }

    pub(super) fn wake(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    /// Remembers whom to wake.
    pub(super) fn watch(&mut self, cx: &Context<'_>) {
        match &self.task {
            Some(task) if task.will_wake(cx.waker()) => {}
            _ => self.task = Some(cx.waker().clone()),
        }
    }
}

/// Streams' numbers are counted up, so spreading their bits is all the hashing they need.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(20);
    }
}

/// Pieces from this size on stay where they were read.
const LARGE: usize = 4096;

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::{BytesMut, Stream};
    use crate::model::cluster::Http2Options;
    use crate::proxy::http::h2::Windows;
    use crate::proxy::http::h2::settings::Settings;

    #[test]
    fn what_a_byte_costs_is_bounded() {
        let windows = Windows::from(Http2Options::default());
        let mut stream = Stream::new(windows, &Settings::assumed(1), Instant::now());
        for n in 0..100_000_u32 {
            let mut read = BytesMut::from(&[0; 1000][..]);
            read[0] = n as u8;
            stream.push(read.split_to(1));
        }
        assert_eq!(stream.unread(), 100_000);
        assert!(stream.data.iter().map(BytesMut::capacity).sum::<usize>() < 110_000);
        assert!(stream.data.len() < 40, "{} pieces", stream.data.len());
        let whole: Vec<u8> = std::iter::from_fn(|| stream.pop()).flatten().collect();
        assert!(whole.iter().enumerate().all(|(n, byte)| *byte == n as u8));
    }
}
