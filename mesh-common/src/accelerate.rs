//! Acceleration: bytes that go from a socket to the socket at the other end of its connection, past TCP.
//!
//! A reader takes such bytes before those in its TCP queue. So a direction may change from these to TCP, once, and never back:
//! that is [`Path`], and it only moves forward. Why it gave way is counted.
//!
//! Bytes that went past TCP know no receive window: what bounds them is [`Pair::admit`].

use crate::flow::FlowKey;

/// One end of a connection whose both ends are here. Lies with the socket (`BPF_MAP_TYPE_SK_STORAGE`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    /// The connection as this end sees it; the socket's key in the map of sockets.
    pub own: FlowKey,
    /// The same as the other end sees it.
    pub peer: FlowKey,
    /// How bytes from here go.
    path: u8,
    /// Which end this is.
    side: u8,
    pad: [u8; 6],
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that connected.
    Connecting,
    /// The one that accepted.
    Accepting,
}

impl Side {
    /// The other one.
    #[inline(always)]
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Connecting => Self::Accepting,
            Self::Accepting => Self::Connecting,
        }
    }
}

/// How the bytes of one direction go. In this order, and never back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// Nothing was sent yet.
    Undecided,
    /// From socket to socket.
    Direct,
    /// Through TCP, for good.
    Tcp,
}

/// Both directions of a connection: what was sent past TCP, in bytes, by [`Side`]. Each socket changes its own numbers under its own
/// lock. That both may change `unanswered` at once loses one message's size, in the one sense or the other.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    unanswered: [u64; 2],
    sent: [u64; 2],
    /// Where the connecting side's numbering of bytes stood when it was established: next to send, next to receive. The accepting
    /// side must have the same, turned round, or it is the end of another connection.
    numbers: [u32; 2],
    /// How each side begins.
    paths: [u8; 2],
    /// Whose socket was entered and is not closed.
    open: [u8; 2],
    pad: [u8; 4],
}

/// What may be accelerated, as bits of [`crate::config::Knobs`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directions(u32);

/// Why a direction goes by TCP from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The other side did not send for too many bytes: it may not be reading.
    Unanswered,
    /// The connection had its share.
    Share,
}

impl Directions {
    /// What an app sends to the agent.
    pub const TO_AGENT: Self = Self(1);
    /// What the agent sends to an app.
    pub const TO_APP: Self = Self(2);
    /// What apps send to each other, where the agent is not between.
    pub const APPS: Self = Self(4);

    /// None or some of them.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// As the maps hold them.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether none.
    #[inline(always)]
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether all of these are among them.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, these: Self) -> bool {
        self.0 & these.0 == these.0
    }

    /// How an end begins whose bytes go this way.
    #[inline(always)]
    #[must_use]
    pub const fn begin(self, these: Self) -> Path {
        if self.has(these) { Path::Undecided } else { Path::Tcp }
    }
}

impl Leg {
    /// An end that sent nothing yet.
    #[inline(always)]
    #[must_use]
    pub const fn new(own: FlowKey, peer: FlowKey, side: Side, path: Path) -> Self {
        Self { own, peer, path: path as u8, side: side as u8, pad: [0; 6] }
    }

    /// How bytes from here go.
    #[inline(always)]
    #[must_use]
    pub const fn path(&self) -> Path {
        path(self.path)
    }

    /// Changes how bytes go, if that is a step forward.
    #[inline(always)]
    pub const fn advance(&mut self, path: Path) {
        if path as u8 > self.path {
            self.path = path as u8;
        }
    }

    /// Which end this is.
    #[inline(always)]
    #[must_use]
    pub const fn side(&self) -> Side {
        if self.side == 0 { Side::Connecting } else { Side::Accepting }
    }

    /// The key under which both ends find their [`Pair`].
    #[inline(always)]
    #[must_use]
    pub const fn pair(&self) -> &FlowKey {
        match self.side() {
            Side::Connecting => &self.own,
            Side::Accepting => &self.peer,
        }
    }
}

impl Pair {
    /// Of a connection that was just established, with the connecting side's next byte to send and to receive, and how the connecting
    /// and the accepting side begin.
    #[inline(always)]
    #[must_use]
    pub const fn new(next_to_send: u32, next_to_receive: u32, [connecting, accepting]: [Path; 2]) -> Self {
        Self {
            unanswered: [0; 2],
            sent: [0; 2],
            numbers: [next_to_send, next_to_receive],
            paths: [connecting as u8, accepting as u8],
            open: [1, 0],
            pad: [0; 4],
        }
    }

    /// How this side begins.
    #[inline(always)]
    #[must_use]
    pub const fn begins(&self, side: Side) -> Path {
        path(self.paths[side as usize & 1])
    }

    /// Whether an accepting side with these next bytes is the other end.
    #[inline(always)]
    #[must_use]
    pub const fn is_accepted_as(&self, next_to_send: u32, next_to_receive: u32) -> bool {
        self.numbers[0] == next_to_receive && self.numbers[1] == next_to_send
    }

    /// The accepting side's socket is entered.
    #[inline(always)]
    pub const fn enter(&mut self) {
        self.open[1] = 1;
    }

    /// This side's socket is closed. Answers whether nobody needs this any more.
    #[inline(always)]
    #[must_use]
    pub const fn close(&mut self, side: Side) -> bool {
        self.open[side as usize & 1] = 0;
        self.open[0] == 0 && self.open[1] == 0
    }

    /// Bytes that this side sent past TCP.
    #[inline(always)]
    #[must_use]
    pub const fn sent(&self, side: Side) -> u64 {
        self.sent[side as usize & 1]
    }

    /// This side sends, by whatever path: it has most likely read what it was sent.
    #[inline(always)]
    pub const fn answer(&mut self, side: Side) {
        match side {
            Side::Connecting => self.unanswered[1] = 0,
            Side::Accepting => self.unanswered[0] = 0,
        }
    }

    /// Whether this side may send `bytes` past TCP; they count if so.
    ///
    /// # Errors
    /// What it has come up against.
    #[inline(always)]
    pub const fn admit(&mut self, side: Side, bytes: u32) -> Result<(), Limit> {
        let at = side as usize & 1;
        let unanswered = self.unanswered[at] + bytes as u64;
        let sent = self.sent[at] + bytes as u64;
        if unanswered > MOST_UNANSWERED {
            return Err(Limit::Unanswered);
        }
        // Not in the midst of a turn: a reader that has taken all so far cannot be misled by bytes in two queues.
        if sent > SHARE && self.unanswered[at] == 0 {
            return Err(Limit::Share);
        }
        self.unanswered[at] = unanswered;
        self.sent[at] = sent;
        Ok(())
    }
}

#[inline(always)]
const fn path(number: u8) -> Path {
    match number {
        0 => Path::Undecided,
        1 => Path::Direct,
        _ => Path::Tcp,
    }
}

/// Bytes that one side may send past TCP before the other sends something. Who streams more gains nothing by it anyway: the copying
/// counts then, not the way.
pub const MOST_UNANSWERED: u64 = 256 * 1024;

/// Bytes that one side may send past TCP in all. What was sent and not read lies in the kernel; a side that goes on sending without
/// ever reading would have the other fill memory without end. A quarter of a million messages of a kilobyte fit.
pub const SHARE: u64 = 256 * 1024 * 1024;

/// Connections that can be accelerated at once.
pub const MAX_ACCELERATED: u32 = 65536;

const _: () = assert!(size_of::<Leg>() == 104);
const _: () = assert!(size_of::<Pair>() == 48);

#[cfg(test)]
mod tests;
