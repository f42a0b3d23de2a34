//! What the kernel programs count, per CPU. Nothing is lost or let through without a number here going up.

/// Place of a number in the counter map.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Connections of workloads sent to the agent.
    Steered,
    /// Connections of workloads sent to an endpoint of a service, past the agent.
    Direct,
    /// Connections of workloads that never leave their namespace.
    PassedLocal,
    /// Connections of workloads to excluded ports or networks.
    PassedExcluded,
    /// Connections that only an interface gives a meaning to.
    PassedBound,
    /// Connections of permissive workloads let through because steering failed.
    PassedFailed,
    /// Connections of enforced workloads refused because steering failed.
    DeniedFailed,
    /// Connections of workloads refused because the service has no endpoint.
    DeniedNoEndpoint,
    /// Failures: the agent has no listener of the family.
    NoListener,
    /// Failures: no memory to remember a destination by.
    NoMemory,
    /// Failures: the agent's configuration is not there.
    NoConfig,
    /// Failures: a service's endpoints changed under the program's eyes, again and again.
    NoChoice,
    /// Handshakes whose hidden end could not be kept because the map is full; the agent closes such a connection.
    HandshakeMapFull,
    /// Accepted sockets for whose hidden end there was no memory.
    AcceptNoMemory,
    /// Connections to workloads sent to the agent.
    InboundSteered,
    /// Connections to workloads that came from inside their namespace, the agent's own deliveries among them.
    InboundLocal,
    /// Connections to workloads at excluded ports or addresses.
    InboundExcluded,
    /// Connections to workloads at ports that the agent has nothing to do with.
    InboundUnclaimed,
    /// Connections to permissive workloads let through because steering failed.
    InboundPassedFailed,
    /// Connections to enforced workloads dropped because steering failed.
    InboundDeniedFailed,
    /// Sockets entered for acceleration.
    AcceleratedSockets,
    /// Messages that went past TCP.
    AcceleratedMessages,
    /// Bytes that went past TCP.
    AcceleratedBytes,
    /// Directions left to TCP: something was sent before the socket was entered.
    SlowedEarly,
    /// Directions left to TCP: the other end was not entered, or has closed.
    SlowedNoPeer,
    /// Directions left to TCP: much was sent and nothing came back.
    SlowedUnanswered,
    /// Directions left to TCP: the connection had its share.
    SlowedShare,
    /// Connections not accelerated: too many at once, or no memory.
    AccelerationFull,
    /// Kernel TLS refused on accelerated sockets.
    TlsRefused,
    /// Events of `connect` that found no place in the ring.
    EventsLostConnect,
    /// Events of sockets that found no place in the ring.
    EventsLostSocket,
    /// Events of the inbound programs that found no place in their ring.
    EventsLostInbound,
    /// Connections that go past the agent and are not watched, for want of memory at their socket.
    Unwatched,
    /// Datagrams and connected sockets of workloads sent to an endpoint of a service.
    DatagramsDirect,
    /// Those left alone, being for no service of the kernel's.
    DatagramsPassed,
    /// Those refused because the service has no endpoint.
    DatagramsDenied,
    /// Services a UDP socket talked to, forgotten for others it talks to.
    FlowsForgotten,
    /// No agent: its listener is closed, because it ended or was killed.
    AgentGone,
    /// No agent: it gives no sign of life.
    AgentSilent,
    /// Connections of permissive workloads let through because there is no agent.
    PassedNoAgent,
    /// Connections of enforced workloads refused because there is no agent.
    DeniedNoAgent,
    /// Connections to permissive workloads let in because there is no agent.
    InboundPassedNoAgent,
    /// Connections to enforced workloads dropped because there is no agent.
    InboundDeniedNoAgent,
    /// Connections of workloads to services that a policy refused.
    DeniedPolicy,
    /// Connections to workloads that a policy refused.
    InboundDeniedPolicy,
    /// Failures: a policy is not whole.
    NoPolicy,
}

impl Counter {
    /// All of them, each at its own place.
    pub const ALL: [Self; 46] = [
        Self::Steered,
        Self::Direct,
        Self::PassedLocal,
        Self::PassedExcluded,
        Self::PassedBound,
        Self::PassedFailed,
        Self::DeniedFailed,
        Self::DeniedNoEndpoint,
        Self::NoListener,
        Self::NoMemory,
        Self::NoConfig,
        Self::NoChoice,
        Self::HandshakeMapFull,
        Self::AcceptNoMemory,
        Self::InboundSteered,
        Self::InboundLocal,
        Self::InboundExcluded,
        Self::InboundUnclaimed,
        Self::InboundPassedFailed,
        Self::InboundDeniedFailed,
        Self::AcceleratedSockets,
        Self::AcceleratedMessages,
        Self::AcceleratedBytes,
        Self::SlowedEarly,
        Self::SlowedNoPeer,
        Self::SlowedUnanswered,
        Self::SlowedShare,
        Self::AccelerationFull,
        Self::TlsRefused,
        Self::EventsLostConnect,
        Self::EventsLostSocket,
        Self::EventsLostInbound,
        Self::Unwatched,
        Self::DatagramsDirect,
        Self::DatagramsPassed,
        Self::DatagramsDenied,
        Self::FlowsForgotten,
        Self::AgentGone,
        Self::AgentSilent,
        Self::PassedNoAgent,
        Self::DeniedNoAgent,
        Self::InboundPassedNoAgent,
        Self::InboundDeniedNoAgent,
        Self::DeniedPolicy,
        Self::InboundDeniedPolicy,
        Self::NoPolicy,
    ];

    /// Its index in the map.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> u32 {
        self as u32
    }

    /// Name and help text for export.
    #[must_use]
    pub const fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::Steered => ("steered", "Connections of workloads sent to the agent"),
            Self::Direct => ("direct", "Connections of workloads sent to an endpoint by the kernel"),
            Self::PassedLocal => ("passed_local", "Connections of workloads to a loopback address"),
            Self::PassedExcluded => ("passed_excluded", "Connections of workloads to excluded ports or networks"),
            Self::PassedBound => ("passed_bound", "Connections of workloads bound to an interface or link"),
            Self::PassedFailed => ("passed_failed", "Connections let through because steering failed"),
            Self::DeniedFailed => ("denied_failed", "Connections refused because steering failed"),
            Self::DeniedNoEndpoint => ("denied_no_endpoint", "Connections refused: the service has no endpoint"),
            Self::NoListener => ("failed_no_listener", "Steering failed: no listener of the address family"),
            Self::NoMemory => ("failed_no_memory", "Steering failed: no memory for the destination"),
            Self::NoConfig => ("failed_no_config", "Steering failed: the configuration map is empty"),
            Self::NoChoice => ("failed_no_choice", "Choosing an endpoint failed: it was replaced meanwhile"),
            Self::HandshakeMapFull => ("handshake_map_full", "Original addresses lost: too many handshakes at once"),
            Self::AcceptNoMemory => ("accept_no_memory", "Original addresses lost: no memory at the accepted socket"),
            Self::DeniedPolicy => ("denied_policy", "Connections of workloads refused by a policy"),
            Self::InboundDeniedPolicy => ("inbound_denied_policy", "Connections to workloads refused by a policy"),
            Self::NoPolicy => ("failed_no_policy", "A policy could not be asked: it is not whole"),
            Self::InboundSteered => ("inbound_steered", "Connections to workloads sent to the agent"),
            Self::InboundLocal => ("inbound_local", "Connections to workloads from inside their namespace"),
            Self::InboundExcluded => ("inbound_excluded", "Connections to workloads at excluded ports or addresses"),
            Self::InboundUnclaimed => ("inbound_unclaimed", "Connections to workloads at ports without a listener"),
            Self::InboundPassedFailed => ("inbound_passed_failed", "Connections let in because steering failed"),
            Self::InboundDeniedFailed => ("inbound_denied_failed", "Connections dropped because steering failed"),
            Self::AcceleratedSockets => {
                ("accelerated_sockets", "Sockets of connections whose both ends are here, entered for acceleration")
            }
            Self::AcceleratedMessages => ("accelerated_messages", "Messages that went from socket to socket, past TCP"),
            Self::AcceleratedBytes => ("accelerated_bytes", "Bytes that went from socket to socket, past TCP"),
            Self::SlowedEarly => {
                ("slowed_early", "Directions left to TCP: something was sent before the socket was entered")
            }
            Self::SlowedNoPeer => {
                ("slowed_no_peer", "Directions left to TCP: the other end was not entered, or has closed")
            }
            Self::SlowedUnanswered => {
                ("slowed_unanswered", "Directions left to TCP: much was sent and nothing came back")
            }
            Self::SlowedShare => ("slowed_share", "Directions left to TCP: the connection had its share"),
            Self::AccelerationFull => {
                ("acceleration_full", "Connections not accelerated: too many at once, or no memory")
            }
            Self::TlsRefused => {
                ("tls_refused", "Kernel TLS refused on accelerated sockets; libraries go on in user space")
            }
            Self::EventsLostConnect => ("events_lost_connect", "Events of connect lost: the ring is full"),
            Self::EventsLostSocket => ("events_lost_socket", "Events of sockets lost: the ring is full"),
            Self::EventsLostInbound => ("events_lost_inbound", "Events of inbound programs lost: the ring is full"),
            Self::Unwatched => ("unwatched", "Connections past the agent not measured: no memory at the socket"),
            Self::DatagramsDirect => ("datagrams_direct", "UDP of workloads sent to an endpoint by the kernel"),
            Self::DatagramsPassed => ("datagrams_passed", "UDP of workloads left alone"),
            Self::DatagramsDenied => ("datagrams_denied", "UDP of workloads refused: the service has no endpoint"),
            Self::FlowsForgotten => ("flows_forgotten", "UDP flows forgotten: one socket talks to too many services"),
            Self::AgentGone => ("agent_gone", "Connections that met no agent: its listener is closed"),
            Self::AgentSilent => ("agent_silent", "Connections that met no agent: it gives no sign of life"),
            Self::PassedNoAgent => ("passed_no_agent", "Connections let through because there is no agent"),
            Self::DeniedNoAgent => ("denied_no_agent", "Connections refused because there is no agent"),
            Self::InboundPassedNoAgent => ("inbound_passed_no_agent", "Connections let in because there is no agent"),
            Self::InboundDeniedNoAgent => ("inbound_denied_no_agent", "Connections dropped because there is no agent"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_own_place_and_name() {
        let names: std::collections::BTreeSet<_> = Counter::ALL.iter().map(|counter| counter.describe().0).collect();
        assert_eq!(names.len(), Counter::ALL.len());
        assert!(Counter::ALL.iter().all(|counter| !counter.describe().1.is_empty()));
        for (place, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(counter.index() as usize, place);
        }
    }
}
