//! What the kernel side tells of connections that go past the agent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::flow::{Direction, PodId};

/// One thing that happened to one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: Kind,
    /// Whose connection it is.
    pub pod: PodId,
    /// Which way it goes, seen from that workload.
    pub direction: Direction,
    /// Which connection it is.
    pub connection: ConnectionId,
    /// Who connects. Port and address are zero while they are not chosen.
    pub client: SocketAddr,
    /// Whom the client asked for.
    pub asked: SocketAddr,
    /// Who answers: an endpoint of what was asked for, or the same.
    pub server: SocketAddr,
    /// Why it goes past the agent, or goes nowhere.
    pub reason: Reason,
    /// The policy that refused it, if one did.
    pub policy: Option<Arc<str>>,
    /// From when it was asked for, or accepted, until now.
    pub age: Duration,
    /// How much it carried.
    pub numbers: Numbers,
}

/// The same in all that is told of one connection, and of no other. Nothing to go by where there never was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// Nanosecond at which it was asked for, or accepted.
    pub since: u64,
    /// Whose it is.
    pub pod: PodId,
    /// Its two ports, the workload's own first.
    pub ports: (u16, u16),
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The connection is made.
    Opened,
    /// It goes on.
    Ongoing,
    /// It ended as both sides wished.
    Closed,
    /// It ended by a reset or a timeout, or with bytes that nobody read.
    Broken,
    /// It was never made: nobody there, or nobody who wanted it.
    Failed,
    /// The mesh refused it.
    Denied,
}

/// What decided about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// As the kernel programs' counter for it is called.
    pub label: &'static str,
    /// The mesh has no part in the connection. Else it chose the endpoint or checked the policy.
    pub bypass: bool,
}

/// How much a connection carried so far, seen from the workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Bytes that the other side has acknowledged.
    pub sent: u64,
    /// Bytes that came.
    pub received: u64,
    /// Segments sent, retransmissions among them.
    pub segments_out: u32,
    /// Segments received.
    pub segments_in: u32,
    /// Segments sent again.
    pub retransmits: u32,
    /// Smoothed round trip, if one was measured.
    pub round_trip: Option<Duration>,
}
