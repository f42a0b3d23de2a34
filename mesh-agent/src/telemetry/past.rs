//! Connections that go past the agent, listed and counted like those it carries.
//!
//! The kernel tells of them in events, and events can be lost: each carries totals, so that the next one makes up for those before
//! it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use tracing::debug;

use crate::model::event::{ConnectionId, Event, Kind, Numbers};
use crate::model::name::ListenerName;
use crate::telemetry::connections::{ConnectionGuard, ConnectionInfo, Tier};
use crate::telemetry::edge::{Destination, Edge, Source, TcpGuard};
use crate::telemetry::worker::WorkerTelemetry;

/// Between whom a connection is.
#[derive(Clone, Debug)]
pub struct Parties {
    /// Who made it.
    pub source: Source,
    /// Whom it reaches.
    pub destination: Destination,
    /// The listener that stands for what was asked for, if one does.
    pub listener: Option<ListenerName>,
}

/// Says between whom a connection is; `None` if it is not to be counted, because it is told of by its other end.
pub(super) type Naming = Box<dyn FnMut(&Event) -> Option<Parties> + Send>;

/// Records what the kernel tells. For one thread.
pub struct PastTraffic {
    worker: WorkerTelemetry,
    parties: Naming,
    open: HashMap<ConnectionId, Open>,
}

/// A connection that is open as far as is known.
struct Open {
    listed: ConnectionGuard,
    tcp: TcpGuard,
    edge: Arc<Edge>,
    /// What was counted already.
    counted: Numbers,
}

impl PastTraffic {
    pub(super) fn new(worker: WorkerTelemetry, parties: Naming) -> Self {
        Self { worker, parties, open: HashMap::new() }
    }

    /// Records one event.
    pub fn record(&mut self, event: &Event) {
        match event.kind {
            Kind::Opened | Kind::Ongoing => self.open(event),
            Kind::Closed => self.close(event, None),
            Kind::Broken => self.close(event, Some("connection_broken")),
            Kind::Failed => self.edge(event, Edge::connect_failed),
            Kind::Denied => {
                let (peer, destination, policy) = (event.client, event.asked, event.policy.as_deref());
                debug!(%peer, %destination, policy, reason = event.reason.label, "denied in the kernel");
                self.edge(event, |edge| edge.error(event.reason.label));
            }
        }
    }

    /// How many are open as far as is known.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.open.len()
    }

    fn open(&mut self, event: &Event) {
        if self.open.len() >= MOST_OPEN && !self.open.contains_key(&event.connection) {
            return;
        }
        let open = match self.open.entry(event.connection) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => match (self.parties)(event) {
                Some(parties) => place.insert(Open::new(&self.worker, event, parties)),
                None => return,
            },
        };
        open.update(event.numbers);
    }

    fn close(&mut self, event: &Event, error: Option<&'static str>) {
        // Of one whose beginning was lost all is counted now.
        let unknown = || (self.parties)(event).map(|parties| Open::new(&self.worker, event, parties));
        let Some(mut open) = self.open.remove(&event.connection).or_else(unknown) else { return };
        open.update(event.numbers);
        if let Some(label) = error {
            open.edge.error(label);
        }
        if self.open.is_empty() {
            self.open.shrink_to(SPARE_OPEN);
        }
    }

    fn edge(&mut self, event: &Event, count: impl FnOnce(&Edge)) {
        if let Some(Parties { source, destination, .. }) = (self.parties)(event) {
            count(&self.worker.edge(&source, destination));
        }
    }
}

impl std::fmt::Debug for PastTraffic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PastTraffic").field("open", &self.open.len()).finish_non_exhaustive()
    }
}

impl Open {
    fn new(worker: &WorkerTelemetry, event: &Event, parties: Parties) -> Self {
        let edge = worker.edge(&parties.source, parties.destination.clone());
        let listed = worker.connection(ConnectionInfo {
            source: parties.source,
            peer: event.client,
            original_destination: Some(event.asked),
            listener: parties.listener,
        });
        listed.set_tier(if event.reason.bypass { Tier::T0 } else { Tier::T1 });
        listed.set_destination(parties.destination);
        Self { listed, tcp: edge.tcp_open(), edge, counted: Numbers::default() }
    }

    /// Counts what came since the last time.
    fn update(&mut self, now: Numbers) {
        let (sent, received) =
            (now.sent.saturating_sub(self.counted.sent), now.received.saturating_sub(self.counted.received));
        self.listed.sent(sent);
        self.tcp.sent(sent);
        self.listed.received(received);
        self.tcp.received(received);
        self.edge.retransmitted(now.retransmits.saturating_sub(self.counted.retransmits).into());
        if let Some(time) = now.round_trip {
            self.listed.set_round_trip(time);
        }
        self.counted = now;
    }
}

/// Open connections that are kept in mind; of more only the end is counted.
const MOST_OPEN: usize = 131_072;
/// Places kept when none is open.
const SPARE_OPEN: usize = 256;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::event::Reason;
    use crate::model::flow::{Direction, PodId};
    use crate::model::name::WorkloadName;
    use crate::telemetry::Telemetry;

    fn event(kind: Kind, since: u64, sent: u64, received: u64) -> Event {
        let numbers = Numbers {
            sent,
            received,
            retransmits: u32::try_from(sent / 10).unwrap(),
            round_trip: Some(Duration::from_micros(70)),
            ..Numbers::default()
        };
        Event {
            kind,
            pod: PodId(1),
            direction: Direction::Outbound,
            connection: ConnectionId { since, pod: PodId(1), ports: (4000, 80) },
            client: "10.0.0.1:4000".parse().unwrap(),
            asked: "10.9.0.1:80".parse().unwrap(),
            server: "10.0.0.2:80".parse().unwrap(),
            reason: Reason { label: "passed_excluded", bypass: true },
            policy: None,
            age: Duration::ZERO,
            numbers,
        }
    }

    fn recorder(telemetry: &Telemetry) -> PastTraffic {
        let source = Source::Workload(WorkloadName::from("a"));
        telemetry.past(move |event| {
            let (source, destination) = (source.clone(), Destination::Passthrough);
            (event.connection.since != 99).then_some(Parties { source, destination, listener: None })
        })
    }

    #[test]
    fn a_connection_is_listed_while_it_is_open() {
        let telemetry = Telemetry::new(2);
        let mut past = recorder(&telemetry);
        past.record(&event(Kind::Opened, 7, 0, 0));
        past.record(&event(Kind::Ongoing, 7, 30, 40));
        let view = telemetry.connections().remove(0);
        assert_eq!(
            (view.tier.as_deref(), view.bytes_sent, view.bytes_received, view.rtt_us),
            (Some("T0"), 30, 40, Some(70))
        );
        assert_eq!(view.source, "a");
        past.record(&event(Kind::Closed, 7, 50, 60));
        assert!(telemetry.connections().is_empty());
        let edge = telemetry.edges().remove(0);
        assert_eq!((edge.tcp_total, edge.tcp_active, edge.bytes_sent, edge.bytes_received), (1, 0, 50, 60));
        assert_eq!((edge.retransmits, edge.errors), (5, 0));
        // The agent's own connections are not among them.
        let text = telemetry.prometheus();
        for line in [
            "bowline_past_connections_total 1",
            "bowline_past_connections_active 0",
            "bowline_downstream_connections_total 0",
            "bowline_workers 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
        }
    }

    #[test]
    fn what_was_lost_is_made_up_for() {
        let telemetry = Telemetry::new(1);
        let mut past = recorder(&telemetry);
        // No beginning.
        past.record(&event(Kind::Ongoing, 1, 10, 10));
        past.record(&event(Kind::Broken, 1, 20, 30));
        // Neither that nor anything between.
        past.record(&event(Kind::Closed, 2, 5, 5));
        let edge = telemetry.edges().remove(0);
        assert_eq!((edge.tcp_total, edge.tcp_active, edge.bytes_sent, edge.bytes_received), (2, 0, 25, 35));
        assert_eq!(edge.error_kinds["connection_broken"], 1);
        assert_eq!(past.open_connections(), 0);
    }

    #[test]
    fn what_the_other_end_tells_is_not_counted_twice() {
        let telemetry = Telemetry::new(1);
        let mut past = recorder(&telemetry);
        for kind in [Kind::Opened, Kind::Ongoing, Kind::Closed, Kind::Failed, Kind::Denied] {
            past.record(&event(kind, 99, 1, 1));
        }
        assert!(telemetry.edges().is_empty() && telemetry.connections().is_empty());
    }

    #[test]
    fn what_was_never_made_is_no_connection() {
        let telemetry = Telemetry::new(1);
        let mut past = recorder(&telemetry);
        past.record(&event(Kind::Failed, 1, 0, 0));
        past.record(&event(Kind::Denied, 2, 0, 0));
        let edge = telemetry.edges().remove(0);
        assert_eq!((edge.tcp_total, edge.connect_failures, edge.error_kinds["passed_excluded"]), (0, 1, 1));
    }
}
