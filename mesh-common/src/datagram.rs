//! What a UDP socket has to remember of the services it talks to: which endpoint stands for which.
//!
//! It lies with the socket, as hidden ends do. A socket that talks to more services at once than there are places forgets one in
//! turn; what it sends there next goes to an endpoint chosen anew, and an answer that is still under way shows the endpoint.

use crate::flow::{Addr, PortBe};
use crate::service::{ServiceKey, Target};

/// Services a socket talks to, each by one endpoint.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flows {
    /// Those that are in use, in no order.
    pub flows: [Flow; PLACES],
    /// The place that is taken next.
    pub next: u32,
    pad: u32,
}

/// One service and the endpoint that stands for it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Address of the service.
    pub service: Addr,
    /// Address of the endpoint.
    pub endpoint: Addr,
    /// Port of the service.
    pub service_port: PortBe,
    /// Port of the endpoint. Zero: the place is free.
    pub endpoint_port: PortBe,
    /// The set in which the endpoint was when somebody last looked. Zero, which no set has for its number: it is in none any more, and
    /// the flow is kept for answers that are still under way.
    pub set: u32,
}

impl Flows {
    /// None yet.
    pub const EMPTY: Self = Self { flows: [Flow::FREE; PLACES], next: 0, pad: 0 };

    /// The place of the flow to this service that is not over.
    #[inline(always)]
    #[must_use]
    pub fn to(&self, service: &ServiceKey) -> Option<usize> {
        self.find(|flow| flow.set != OVER && flow.service == service.addr && flow.service_port == service.port)
    }

    /// The service that this endpoint stands for.
    #[inline(always)]
    #[must_use]
    pub fn from(&self, endpoint: &Target) -> Option<Target> {
        let place = self.find(|flow| flow.endpoint == endpoint.addr && flow.endpoint_port == endpoint.port)?;
        let flow = self.flows.get(place)?;
        Some(Target::new(flow.service, flow.service_port))
    }

    /// Lets another endpoint stand for this service from now on. The one before is known until its place is taken: its answers may be
    /// under way. The next datagram without a connection asks whether the new one is one.
    pub fn point(&mut self, service: &ServiceKey, endpoint: &Target) {
        if let Some(flow) = self.to(service).and_then(|place| self.flows.get_mut(place)) {
            flow.end();
        }
        let place = self.take_place();
        self.flows[place] = Flow::new(service, endpoint, UNSEEN);
    }

    /// Which place a new flow takes.
    #[inline(always)]
    pub const fn take_place(&mut self) -> usize {
        let place = self.next;
        self.next = place.wrapping_add(1);
        place as usize % PLACES
    }

    #[inline(always)]
    fn find(&self, is: impl Fn(&Flow) -> bool) -> Option<usize> {
        (0..PLACES).find(|&place| self.flows.get(place).is_some_and(|flow| flow.endpoint_port.0 != 0 && is(flow)))
    }
}

impl Flow {
    const FREE: Self = Self {
        service: Addr([0; 4]),
        endpoint: Addr([0; 4]),
        service_port: PortBe(0),
        endpoint_port: PortBe(0),
        set: 0,
    };

    /// From a service to an endpoint of a set.
    #[inline(always)]
    #[must_use]
    pub const fn new(service: &ServiceKey, endpoint: &Target, set: u32) -> Self {
        Self {
            service: service.addr,
            endpoint: endpoint.addr,
            service_port: service.port,
            endpoint_port: endpoint.port,
            set,
        }
    }

    /// Whether taking its place forgets something: it is in use, and not over.
    #[inline(always)]
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.endpoint_port.0 != 0 && self.set != OVER
    }

    /// Its endpoint is gone.
    #[inline(always)]
    pub const fn end(&mut self) {
        self.set = OVER;
    }

    /// The endpoint.
    #[inline(always)]
    #[must_use]
    pub const fn target(&self) -> Target {
        Target::new(self.endpoint, self.endpoint_port)
    }
}

/// [`Flow::set`] of one that is over.
const OVER: u32 = 0;

/// [`Flow::set`] of one whose endpoint was in a set that nobody has looked into. Sets are numbered from one on.
const UNSEEN: u32 = u32::MAX;

/// Services one socket talks to at once. A resolver asks two or three; who needs more has a socket for each, as a rule.
pub const PLACES: usize = 8;

const _: () = assert!(size_of::<Flow>() == 40);
const _: () = assert!(size_of::<Flows>() == 328);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Protocol;

    fn key(n: u32) -> ServiceKey {
        ServiceKey::new(Protocol::Udp, Addr::v4(n), PortBe::new(53))
    }

    fn endpoint(n: u32) -> Target {
        Target::new(Addr::v4(0x0a00_0000 + n), PortBe::new(5353))
    }

    #[test]
    fn flows_are_found_both_ways_and_replaced_in_turn() {
        let mut flows = Flows::EMPTY;
        assert_eq!((flows.to(&key(0)), flows.from(&Target::NOWHERE)), (None, None));
        for n in 0..=8 {
            let place = flows.take_place();
            flows.flows[place] = Flow::new(&key(n), &endpoint(n), 1);
        }
        // The ninth took the place of the first.
        assert_eq!((flows.to(&key(0)), flows.to(&key(8)), flows.to(&key(1))), (None, Some(0), Some(1)));
        assert_eq!(flows.from(&endpoint(0)), None);
        assert_eq!(flows.from(&endpoint(7)), Some(Target::new(Addr::v4(7), PortBe::new(53))));
        assert_eq!(flows.flows[7].target(), endpoint(7));
    }

    #[test]
    fn a_flow_whose_endpoint_is_gone_is_kept_for_its_answers() {
        let mut flows = Flows::EMPTY;
        for (n, set) in [(1, 1), (2, 2)] {
            if let Some(known) = flows.to(&key(0)) {
                flows.flows[known].end();
            }
            let place = flows.take_place();
            assert!(!flows.flows[place].is_live());
            flows.flows[place] = Flow::new(&key(0), &endpoint(n), set);
        }
        assert_eq!(flows.to(&key(0)), Some(1));
        let service = Some(Target::new(Addr::v4(0), PortBe::new(53)));
        assert_eq!((flows.from(&endpoint(1)), flows.from(&endpoint(2))), (service, service));
        assert!(!flows.flows[0].is_live() && flows.flows[1].is_live());
        // The agent moves a connected socket in the same way.
        flows.point(&key(0), &endpoint(3));
        assert_eq!(
            (flows.to(&key(0)), flows.from(&endpoint(2)), flows.from(&endpoint(3))),
            (Some(2), service, service)
        );
    }
}
