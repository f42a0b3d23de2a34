//! What the kernel programs report of the connections that go past the agent: the records of the ring, and how a socket's own
//! counters become numbers of bytes.
//!
//! One record fits every occasion. Whoever reads them needs the same facts each time (who, where to, how much), and with one size
//! a full ring holds a known number of them.

use crate::counter::Counter;
use crate::decide::Way;
use crate::flow::{Addr, PortBe};

/// One record.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, by the clock that starts with the machine and stands still for nobody (`CLOCK_MONOTONIC`), in nanoseconds.
    pub at: u64,
    /// When the connection was asked for (outbound) or made (inbound), by the same clock. With the workload and both ports this is the
    /// same in all records of one connection, and in no other's: a socket's cookie would do as well, but costs more to ask for.
    pub since: u64,
    /// Bytes of the app that the other side has acknowledged.
    pub sent: u64,
    /// Bytes of the other side that the app's socket has taken in.
    pub received: u64,
    /// The socket's own end. Unknown before it is connected.
    pub local: Addr,
    /// The end it talks to.
    pub remote: Addr,
    /// What the app asked for: a service, or the same as `remote`.
    pub asked: Addr,
    /// Port of `local`.
    pub local_port: PortBe,
    /// Port of `remote`.
    pub remote_port: PortBe,
    /// Port of `asked`.
    pub asked_port: PortBe,
    kind: u8,
    way: u8,
    /// The workload.
    pub pod: u32,
    /// What decided: [`Counter::index`] of the verdict's counter.
    pub why: u32,
    /// Segments sent, retransmissions among them.
    pub segments_out: u32,
    /// Segments received.
    pub segments_in: u32,
    /// Segments sent again.
    pub retransmits: u32,
    /// Smoothed round trip in microseconds; zero where none was measured.
    pub srtt_us: u32,
    /// The set of rules that refused it; zero: none did.
    pub set: u32,
    /// And which of them; counts from one, zero: none of them allows it.
    pub rule: u32,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The connection is made.
    Opened,
    /// It goes on; its numbers so far.
    Ongoing,
    /// It ended as both sides wished; its last numbers.
    Closed,
    /// It ended by a reset, a timeout, or with bytes that nobody read.
    Broken,
    /// It was never made: nobody there, or nobody who wanted it.
    Failed,
    /// The mesh refused it.
    Denied,
}

/// What a program keeps with a socket whose connection goes past the agent, until it closes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// When the connection was asked for or made.
    pub since: u64,
    /// When it was last reported.
    pub reported: u64,
    /// Bytes received when the other side had acknowledged our end of the stream.
    pub received_before: u64,
    /// The workload.
    pub pod: u32,
    /// What let it go past the agent.
    pub why: u32,
    way: u8,
    /// How far it is: one of the constants of [`Watched`].
    stage: u8,
    pad: [u8; 6],
}

/// A socket's own counters, as `bpf_sock_ops` shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raw {
    /// `bytes_acked`.
    pub acked: u64,
    /// `bytes_received`.
    pub received: u64,
    /// [`Watched::received_before`].
    pub received_before: u64,
    /// Nothing that was sent waits for an answer (`snd_una == snd_nxt`).
    pub all_acked: bool,
}

/// States of a TCP socket (`enum tcp_state` of the kernel), those that matter here.
pub mod state {
    /// `TCP_SYN_SENT`
    pub const SYN_SENT: u32 = 2;
    /// `TCP_FIN_WAIT2`
    pub const FIN_WAIT2: u32 = 5;
    /// `TCP_CLOSE`
    pub const CLOSE: u32 = 7;
    /// `TCP_CLOSE_WAIT`
    pub const CLOSE_WAIT: u32 = 8;
    /// `TCP_LAST_ACK`
    pub const LAST_ACK: u32 = 9;
    /// `TCP_CLOSING`
    pub const CLOSING: u32 = 11;
}

impl Event {
    /// A record without numbers.
    #[inline(always)]
    #[must_use]
    pub const fn new(kind: Kind, way: Way, pod: u32, why: Counter) -> Self {
        Self {
            at: 0,
            since: 0,
            sent: 0,
            received: 0,
            local: Addr([0; 4]),
            remote: Addr([0; 4]),
            asked: Addr([0; 4]),
            local_port: PortBe(0),
            remote_port: PortBe(0),
            asked_port: PortBe(0),
            kind: kind as u8,
            way: way as u8,
            pod,
            why: why.index(),
            segments_out: 0,
            segments_in: 0,
            retransmits: 0,
            srtt_us: 0,
            set: 0,
            rule: 0,
        }
    }

    /// The record of a watched socket, without numbers.
    #[inline(always)]
    #[must_use]
    pub const fn of(kind: Kind, watched: &Watched) -> Self {
        let mut event = Self::new(kind, watched.way(), watched.pod, Counter::Steered);
        event.why = watched.why;
        event.since = watched.since;
        event
    }

    /// What happened; `None` for a number that this version does not know.
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        match self.kind {
            0 => Some(Kind::Opened),
            1 => Some(Kind::Ongoing),
            2 => Some(Kind::Closed),
            3 => Some(Kind::Broken),
            4 => Some(Kind::Failed),
            5 => Some(Kind::Denied),
            _ => None,
        }
    }

    /// Which way the connection goes, seen from the workload.
    #[must_use]
    pub const fn way(&self) -> Way {
        if self.way == 0 { Way::Outbound } else { Way::Inbound }
    }
}

impl Watched {
    /// Nothing is kept.
    pub const NOT: Self =
        Self { since: 0, reported: 0, received_before: 0, pod: 0, why: 0, way: 0, stage: 0, pad: [0; 6] };
    const ASKED: u8 = 1;
    const ESTABLISHED: u8 = 2;
    const AGENT: u8 = 3;

    /// A connection of this workload that begins now.
    #[inline(always)]
    #[must_use]
    pub const fn new(way: Way, pod: u32, why: Counter, now: u64) -> Self {
        Self {
            since: now,
            reported: now,
            received_before: 0,
            pod,
            why: why.index(),
            way: way as u8,
            stage: Self::ASKED,
            pad: [0; 6],
        }
    }

    /// Marks a listener of the agent: what is accepted from it inherits the mark, and is the agent's to measure.
    #[must_use]
    pub const fn agent() -> Self {
        Self { stage: Self::AGENT, ..Self::NOT }
    }

    /// Whether this marks a socket of the agent.
    #[inline(always)]
    #[must_use]
    pub const fn is_agent(&self) -> bool {
        self.stage == Self::AGENT
    }

    /// Whether it is of a connection that is told of.
    #[inline(always)]
    #[must_use]
    pub const fn is_watched(&self) -> bool {
        matches!(self.stage, Self::ASKED | Self::ESTABLISHED)
    }

    /// Which way the connection goes.
    #[inline(always)]
    #[must_use]
    pub const fn way(&self) -> Way {
        if self.way == 0 { Way::Outbound } else { Way::Inbound }
    }

    /// The connection is made.
    #[inline(always)]
    pub const fn establish(&mut self) {
        self.stage = Self::ESTABLISHED;
    }

    /// What a socket's end in `state` means.
    #[inline(always)]
    #[must_use]
    pub const fn end(&self, state: u32, raw: &Raw) -> Kind {
        match (self.stage, state) {
            (Self::ASKED, _) => Kind::Failed,
            (_, state::FIN_WAIT2) => Kind::Closed,
            (_, state::CLOSING | state::LAST_ACK) if raw.all_acked => Kind::Closed,
            _ => Kind::Broken,
        }
    }
}

impl Raw {
    /// Bytes of the app, sent and received, of a socket in `state`.
    ///
    /// The kernel counts sequence numbers, of which SYN and FIN take one each: our SYN if we connected, our FIN once it is
    /// acknowledged, theirs once it is here. After our FIN was acknowledged, theirs is the last thing to come, and does not show
    /// in the state. So one byte is missing where the app closes its socket for good after it had closed one direction and
    /// received more, and before the other side closed.
    #[inline(always)]
    #[must_use]
    pub const fn payload(&self, way: Way, state: u32) -> (u64, u64) {
        let syn = matches!(way, Way::Outbound) as u64;
        let ours = match state {
            state::FIN_WAIT2 => true,
            state::CLOSING | state::LAST_ACK => self.all_acked,
            _ => false,
        };
        let theirs = match state {
            state::CLOSE_WAIT | state::LAST_ACK | state::CLOSING => true,
            state::FIN_WAIT2 => self.received > self.received_before,
            _ => false,
        };
        (self.acked.saturating_sub(syn + ours as u64), self.received.saturating_sub(theirs as u64))
    }
}

const _: () = assert!(size_of::<Event>() == 120);
const _: () = assert!(size_of::<Watched>() == 40);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_survive_the_border() {
        for kind in [Kind::Opened, Kind::Ongoing, Kind::Closed, Kind::Broken, Kind::Failed, Kind::Denied] {
            for way in [Way::Outbound, Way::Inbound] {
                let event = Event::new(kind, way, 3, Counter::PassedExcluded);
                assert_eq!((event.kind(), event.way()), (Some(kind), way));
                let watched = Watched::new(way, 3, Counter::PassedExcluded, 7);
                assert_eq!((watched.way(), watched.is_agent()), (way, false));
                let of = Event::of(kind, &watched);
                assert_eq!((of.kind(), of.way(), of.why, of.since), (Some(kind), way, event.why, 7));
            }
        }
        assert!(Watched::agent().is_agent());
    }

    #[test]
    fn what_the_kernel_counts_besides_bytes_is_taken_off() {
        // acked, received, received before our FIN was acknowledged, all acknowledged
        let raw = |acked, received, received_before, all_acked| Raw { acked, received, received_before, all_acked };
        for (what, way, state, raw, expected) in [
            ("nothing yet", Way::Outbound, 1, raw(1, 0, 0, true), (0, 0)),
            ("under way", Way::Outbound, 1, raw(101, 50, 0, false), (100, 50)),
            ("under way, accepted", Way::Inbound, 1, raw(100, 50, 0, false), (100, 50)),
            ("they closed first", Way::Outbound, state::LAST_ACK, raw(102, 51, 0, true), (100, 50)),
            (
                "the same, reset before our FIN came through",
                Way::Outbound,
                state::LAST_ACK,
                raw(101, 51, 0, false),
                (100, 50),
            ),
            ("they closed, we were reset", Way::Inbound, state::CLOSE_WAIT, raw(100, 51, 0, true), (100, 50)),
            ("we closed first", Way::Outbound, state::FIN_WAIT2, raw(102, 51, 50, true), (100, 50)),
            (
                "we closed first, data came with their FIN",
                Way::Inbound,
                state::FIN_WAIT2,
                raw(101, 51, 0, true),
                (100, 50),
            ),
            ("we closed for good, they have not", Way::Outbound, state::FIN_WAIT2, raw(102, 50, 50, true), (100, 50)),
            ("both at once", Way::Outbound, state::CLOSING, raw(102, 51, 0, true), (100, 50)),
            ("refused", Way::Outbound, state::SYN_SENT, raw(0, 0, 0, false), (0, 0)),
        ] {
            assert_eq!(raw.payload(way, state), expected, "{what}");
        }
    }

    #[test]
    fn ends_are_told_apart() {
        let mut watched = Watched::new(Way::Outbound, 1, Counter::PassedExcluded, 0);
        let acked = Raw { all_acked: true, ..Raw::default() };
        assert_eq!(watched.end(state::SYN_SENT, &acked), Kind::Failed);
        watched.establish();
        for (state, raw, expected) in [
            (state::FIN_WAIT2, acked, Kind::Closed),
            (state::LAST_ACK, acked, Kind::Closed),
            (state::CLOSING, acked, Kind::Closed),
            (state::LAST_ACK, Raw::default(), Kind::Broken),
            (state::CLOSE_WAIT, acked, Kind::Broken),
            (1, acked, Kind::Broken),
        ] {
            assert_eq!(watched.end(state, &raw), expected, "{state} {raw:?}");
        }
    }
}
