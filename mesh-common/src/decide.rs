//! The one decision: what happens to a connection of a workload, or to one that comes in.
//!
//! Pure, so that a table of cases proves it on the host. Every failure of a helper or a map comes here too and ends by the
//! workload's mode, and so does everything while there is no agent: whether the mesh fails open or closed is one table,
//! [`by_mode`].

use crate::counter::Counter;
use crate::flow::{Addr, Family};
use crate::policy::Judgement;
use crate::service::Protocol;
use crate::workload::{Mode, Workload};

/// What is to be decided.
#[derive(Clone, Copy, Debug)]
pub enum Question {
    /// The workload connects.
    Connect {
        /// Where to.
        destination: Addr,
        /// The port or the network is excluded.
        excluded: bool,
        /// The socket is bound to an interface, and loopback is another one.
        bound_to_device: bool,
        /// Whether the kernel knows endpoints for this destination.
        offer: Offer,
    },
    /// The workload sends a datagram, or connects a socket for datagrams.
    Send {
        /// Where to.
        destination: Addr,
        /// The port or the network is excluded.
        excluded: bool,
        /// The socket is bound to an interface.
        bound_to_device: bool,
        /// Whether the kernel knows endpoints for this destination.
        offer: Offer,
    },
    /// Somebody connects to the workload.
    Accept {
        /// Who.
        client: Addr,
        /// To which of its addresses.
        destination: Addr,
        /// The port or the address is excluded.
        excluded: bool,
        /// The agent has something to do with what comes in at this port.
        claimed: bool,
    },
    /// A connection that goes this way was to be steered, and could not be.
    Failed(Way, Failure),
}

/// Which way the connection goes, seen from the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From it.
    Outbound,
    /// To it.
    Inbound,
}

/// What the kernel itself has to offer for a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It is no service of the kernel's.
    Nothing,
    /// It is one, and has endpoints.
    Endpoints,
    /// It is one that has none now.
    NoEndpoint,
}

/// Why something could not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The agent has no listener of the address family in this pod.
    NoListener,
    /// The kernel had no memory to remember the destination by.
    NoMemory,
    /// The configuration map is empty.
    NoConfig,
    /// The endpoints of the service were replaced whenever one was looked up.
    NoChoice,
    /// The agent's listener is closed: the kernel took it out of its map.
    AgentGone,
    /// The agent's last beat is too long ago.
    AgentSilent,
    /// The rules that a destination names are not there, or not all of them.
    NoPolicy,
}

/// What happens to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Untouched, counted as this.
    Pass(Counter),
    /// To the agent's listener of this family.
    Steer(Family),
    /// To an endpoint that the kernel chooses.
    Direct(Protocol),
    /// Refused, counted as this.
    Deny(Counter),
}

/// Decides.
#[inline(always)]
#[must_use]
pub fn decide(workload: &Workload, question: Question) -> Verdict {
    match question {
        Question::Connect { destination, .. } if destination.is_local() => Verdict::Pass(Counter::PassedLocal),
        Question::Connect { excluded: true, .. } => Verdict::Pass(Counter::PassedExcluded),
        Question::Connect { bound_to_device: true, .. } => Verdict::Pass(Counter::PassedBound),
        Question::Connect { destination, .. } if destination.is_link_local() => Verdict::Pass(Counter::PassedBound),
        // Before anything of the agent's: what the kernel can do alone, it does whether an agent lives or not.
        Question::Connect { offer: Offer::Endpoints, .. } => Verdict::Direct(Protocol::Tcp),
        Question::Connect { offer: Offer::NoEndpoint, .. } => Verdict::Deny(Counter::DeniedNoEndpoint),
        Question::Connect { destination, .. } => Verdict::Steer(destination.family()),
        Question::Send { destination, excluded, bound_to_device, .. }
            if excluded || bound_to_device || destination.is_local() || destination.is_link_local() =>
        {
            Verdict::Pass(Counter::DatagramsPassed)
        }
        Question::Send { offer: Offer::Nothing, .. } => Verdict::Pass(Counter::DatagramsPassed),
        Question::Send { offer: Offer::Endpoints, .. } => Verdict::Direct(Protocol::Udp),
        Question::Send { offer: Offer::NoEndpoint, .. } => Verdict::Deny(Counter::DatagramsDenied),
        // A connection from the pod to its own address arrives on the interface that owns the address, not on lo, so that only
        // the addresses tell. The agent delivers from inside the namespace: this is what lets it through to the app.
        Question::Accept { client, destination, .. }
            if client.is_local() || destination.is_local() || client.0 == destination.0 =>
        {
            Verdict::Pass(Counter::InboundLocal)
        }
        Question::Accept { excluded: true, .. } => Verdict::Pass(Counter::InboundExcluded),
        Question::Accept { claimed: false, .. } => Verdict::Pass(Counter::InboundUnclaimed),
        Question::Accept { destination, .. } => Verdict::Steer(destination.family()),
        Question::Failed(way, failure) => by_mode(workload.mode(), way, failure.is_absence()),
    }
}

/// What a policy makes of a connection that would go past the agent. Where the agent is between, it asks by itself.
#[inline(always)]
pub const fn by_policy(verdict: Verdict, judgement: Judgement, way: Way) -> Result<Verdict, Failure> {
    match (judgement, way) {
        (Judgement::Allowed, _) => Ok(verdict),
        (Judgement::Denied(_), Way::Outbound) => Ok(Verdict::Deny(Counter::DeniedPolicy)),
        (Judgement::Denied(_), Way::Inbound) => Ok(Verdict::Deny(Counter::InboundDeniedPolicy)),
        (Judgement::Unknown, _) => Err(Failure::NoPolicy),
    }
}

/// Fail open or fail closed.
#[inline(always)]
const fn by_mode(mode: Mode, way: Way, absent: bool) -> Verdict {
    match (mode, way, absent) {
        (Mode::Permissive, Way::Outbound, false) => Verdict::Pass(Counter::PassedFailed),
        (Mode::Permissive, Way::Outbound, true) => Verdict::Pass(Counter::PassedNoAgent),
        (Mode::Permissive, Way::Inbound, false) => Verdict::Pass(Counter::InboundPassedFailed),
        (Mode::Permissive, Way::Inbound, true) => Verdict::Pass(Counter::InboundPassedNoAgent),
        (Mode::Enforce, Way::Outbound, false) => Verdict::Deny(Counter::DeniedFailed),
        (Mode::Enforce, Way::Outbound, true) => Verdict::Deny(Counter::DeniedNoAgent),
        (Mode::Enforce, Way::Inbound, false) => Verdict::Deny(Counter::InboundDeniedFailed),
        (Mode::Enforce, Way::Inbound, true) => Verdict::Deny(Counter::InboundDeniedNoAgent),
    }
}

impl Verdict {
    /// Where it is counted.
    #[inline(always)]
    #[must_use]
    pub const fn counter(self, way: Way) -> Counter {
        match (self, way) {
            (Self::Pass(counter) | Self::Deny(counter), _) => counter,
            (Self::Direct(Protocol::Tcp), _) => Counter::Direct,
            (Self::Direct(Protocol::Udp), _) => Counter::DatagramsDirect,
            (Self::Steer(_), Way::Outbound) => Counter::Steered,
            (Self::Steer(_), Way::Inbound) => Counter::InboundSteered,
        }
    }
}

impl Failure {
    /// Where it is counted.
    #[inline(always)]
    #[must_use]
    pub const fn counter(self) -> Counter {
        match self {
            Self::NoListener => Counter::NoListener,
            Self::NoMemory => Counter::NoMemory,
            Self::NoConfig => Counter::NoConfig,
            Self::NoChoice => Counter::NoChoice,
            Self::AgentGone => Counter::AgentGone,
            Self::AgentSilent => Counter::AgentSilent,
            Self::NoPolicy => Counter::NoPolicy,
        }
    }

    /// Whether it is no mishap of one connection: there is no agent.
    #[inline(always)]
    #[must_use]
    pub const fn is_absence(self) -> bool {
        matches!(self, Self::AgentGone | Self::AgentSilent)
    }
}

#[cfg(test)]
mod tests;
