//! What the kernel can do without the agent's hands: which services it sends to an endpoint by itself, and which ports of a
//! workload it need not bring to the agent.
//!
//! Plain data, derived from a snapshot by [`crate::tier`]; the kernel side implements [`Shortcuts`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::model::authz::Rules;
use crate::model::endpoint::Slots;
use crate::model::name::ListenerName;

/// What the kernel does by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByKernel {
    /// Services it sends to an endpoint.
    pub services: Services,
    /// What it must bring to the agent; the rest of what comes in passes.
    pub inbound: Claims,
    /// Who may connect to those services that not everybody may.
    pub rules: BTreeMap<SocketAddr, Arc<[Rules]>>,
}

/// What comes in to workloads that the agent has something to do with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Everything: a listener takes what no other does.
    pub all: bool,
    /// Ports of an address, or of any: one for each listener.
    pub ports: Vec<(Option<IpAddr>, u16)>,
    /// Those of them at which the agent would do no more than ask a policy.
    pub straight: Vec<Straight>,
}

/// A port at which the agent would bring what comes in to where it wanted to go, if that is this endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Straight {
    /// The address the listener is for, or any of the endpoint's family.
    pub address: Option<IpAddr>,
    /// Where it brings connections; the listener has the same port.
    pub endpoint: SocketAddr,
    /// Who may connect.
    pub rules: Arc<[Rules]>,
}

/// The same for one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// Whatever comes in.
    All,
    /// What comes in at these ports.
    Ports(BTreeSet<u16>),
}

/// What is spoken to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// All services that need no agent, by what a workload connects to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services(pub BTreeMap<(Protocol, SocketAddr), Arc<Service>>);

/// Endpoints that services no longer have, each with those services, and the endpoints each of these has left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost(pub BTreeMap<(Protocol, SocketAddr), BTreeMap<SocketAddr, Left>>);

/// A service that needs no agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// The listener that says so.
    pub listener: ListenerName,
    /// Its endpoints, each with its share of all; those of a share that has none are `None`. Empty: it has none at all.
    pub shares: Vec<(Option<SocketAddr>, f64)>,
    /// Endpoints that nothing new is sent to. What was, stays.
    pub resting: Vec<SocketAddr>,
    /// The client decides, by this and not by the shares.
    pub by_client: Option<ByClient>,
}

/// Who has which slot of a service's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByClient {
    /// Those that have slots.
    pub members: Vec<SocketAddr>,
    /// The table, which is the agent's own.
    pub table: Arc<Slots>,
}

/// What an endpoint's flows can move to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Those that are chosen.
    pub endpoints: Vec<SocketAddr>,
    /// How, if the client decides.
    pub by_client: Option<ByClient>,
}

impl Lost {
    /// Adds what else is lost. Of what is left, the newer word counts.
    pub fn add(&mut self, other: Self) {
        for (endpoint, services) in other.0 {
            self.0.entry(endpoint).or_default().extend(services);
        }
    }

    /// What of this is still lost, with what is left now.
    #[must_use]
    pub fn as_of(&self, now: &Services) -> Self {
        let mut lost = Self::default();
        for (&(protocol, gone), services) in &self.0 {
            for &address in services.keys() {
                let Some(service) = now.0.get(&(protocol, address)) else { continue };
                if !service.endpoints().any(|endpoint| endpoint == gone) {
                    lost.0.entry((protocol, gone)).or_default().insert(address, service.left());
                }
            }
        }
        lost
    }
}

impl Services {
    /// What services lose when `next` comes. One that is no service of the kernel's any more loses nothing: its connections go on
    /// as they are, and new ones go another way.
    #[must_use]
    pub fn lost(&self, next: &Self) -> Lost {
        let mut lost = Lost::default();
        for (&(protocol, address), before) in &self.0 {
            let Some(after) = next.0.get(&(protocol, address)).filter(|after| *after != before) else { continue };
            let left: BTreeSet<_> = after.endpoints().collect();
            for gone in before.endpoints().filter(|endpoint| !left.contains(endpoint)) {
                let services = lost.0.entry((protocol, gone)).or_default();
                services.entry(address).or_insert_with(|| after.left());
            }
        }
        lost
    }
}

impl Service {
    /// Those that are ever chosen.
    fn chosen(&self) -> impl Iterator<Item = SocketAddr> {
        self.shares.iter().filter(|(_, share)| *share > 0.0).filter_map(|(endpoint, _)| *endpoint)
    }

    fn left(&self) -> Left {
        let endpoints: BTreeSet<_> = self.chosen().collect();
        Left { endpoints: endpoints.into_iter().collect(), by_client: self.by_client.clone() }
    }

    /// Those, and those that may have been.
    pub fn endpoints(&self) -> impl Iterator<Item = SocketAddr> {
        self.chosen().chain(self.resting.iter().copied())
    }
}

// No share is ever NaN: each is a quotient of positive integers.
impl Eq for Service {}

impl Claims {
    /// Those that concern a workload with these addresses.
    #[must_use]
    pub fn of(&self, addresses: &[IpAddr]) -> Claimed {
        if self.all {
            return Claimed::All;
        }
        let own = self.ports.iter().filter(|(ip, _)| concerns(*ip, addresses));
        Claimed::Ports(own.map(|(_, port)| *port).collect())
    }

    /// The policies that could be asked in the agent's stead of a workload with these addresses, by what is connected to; the
    /// unspecified address stands for all of its family.
    #[must_use]
    pub fn straight(&self, addresses: &[IpAddr]) -> BTreeMap<SocketAddr, Arc<[Rules]>> {
        if self.all {
            return BTreeMap::new();
        }
        let only_one = |ip: IpAddr| addresses.iter().filter(|other| other.is_ipv4() == ip.is_ipv4()).eq([&ip]);
        let fits = |it: &&Straight| match it.address {
            Some(ip) => ip == it.endpoint.ip() && addresses.contains(&ip),
            None => only_one(it.endpoint.ip()),
        };
        let fitting: Vec<_> = self.straight.iter().filter(fits).collect();
        // A port is claimed or not, whatever the address: it is the kernel's only if all who listen there for this workload are such.
        let is_all = |port: u16| {
            let listeners = self.ports.iter().filter(|(ip, other)| *other == port && concerns(*ip, addresses));
            listeners.count() == fitting.iter().filter(|it| it.endpoint.port() == port).count()
        };
        let judged = fitting.iter().filter(|it| is_all(it.endpoint.port()));
        judged.map(|it| (it.asked(), Arc::clone(&it.rules))).collect()
    }
}

impl Straight {
    /// What is connected to.
    fn asked(&self) -> SocketAddr {
        let any = match self.endpoint {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        SocketAddr::new(self.address.unwrap_or(any), self.endpoint.port())
    }
}

/// Whether a listener for this address, or for any, concerns a workload with these. One whose addresses nobody wrote down may have any.
fn concerns(ip: Option<IpAddr>, addresses: &[IpAddr]) -> bool {
    ip.is_none_or(|ip| addresses.is_empty() || addresses.contains(&ip))
}

impl Claimed {
    /// The same without these ports.
    #[must_use]
    pub fn without(self, others: impl Iterator<Item = u16>) -> Self {
        match self {
            Self::All => Self::All,
            Self::Ports(ports) => Self::Ports(&ports - &others.collect()),
        }
    }

    /// What is claimed by both.
    #[must_use]
    pub fn both(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, both) | (both, Self::All) => both.clone(),
            (Self::Ports(one), Self::Ports(other)) => Self::Ports(one & other),
        }
    }
}

/// Who does more or less by itself than before. Called by the rollout alone, in its order.
pub trait Shortcuts {
    /// Forgets what is not in `next`. Until it learns the rest, what it has stays as it is.
    fn forget(&mut self, next: &ByKernel);

    /// Learns all of `next`.
    fn learn(&mut self, next: &ByKernel);

    /// Learns of these services that they have other endpoints. All else is as it was learnt last, and no rules apply to them.
    fn change(&mut self, next: &ByKernel, services: &[(Protocol, SocketAddr)]);
}

/// Without a kernel side there is nobody to tell.
impl<S: Shortcuts> Shortcuts for Option<S> {
    fn forget(&mut self, next: &ByKernel) {
        if let Some(kernel) = self {
            kernel.forget(next);
        }
    }

    fn learn(&mut self, next: &ByKernel) {
        if let Some(kernel) = self {
            kernel.learn(next);
        }
    }

    fn change(&mut self, next: &ByKernel, services: &[(Protocol, SocketAddr)]) {
        if let Some(kernel) = self {
            kernel.change(next, services);
        }
    }
}

impl<S: Shortcuts + ?Sized> Shortcuts for &mut S {
    fn forget(&mut self, next: &ByKernel) {
        (**self).forget(next);
    }

    fn learn(&mut self, next: &ByKernel) {
        (**self).learn(next);
    }

    fn change(&mut self, next: &ByKernel, services: &[(Protocol, SocketAddr)]) {
        (**self).change(next, services);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(each: &[(&str, &[&str])]) -> Services {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let service = |(name, endpoints): &(&str, &[&str])| {
            let shares = endpoints.iter().map(|endpoint| (Some(address(endpoint)), 1.0)).collect();
            (
                (Protocol::Tcp, address(name)),
                Arc::new(Service { listener: (*name).into(), shares, resting: Vec::new(), by_client: None }),
            )
        };
        Services(each.iter().map(service).collect())
    }

    #[test]
    fn a_port_is_judged_in_the_kernel_by_all_who_listen_there_or_by_none() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let listener = |address: Option<&str>, endpoint: &str| {
            let rules: Arc<[Rules]> = [].into();
            Straight { address: address.map(ip), endpoint: endpoint.parse().unwrap(), rules }
        };
        let (v4, v6) = (listener(None, "10.0.0.1:81"), listener(None, "[fd00::1]:81"));
        let of = |straight: &[&Straight], others: &[Option<&str>], addresses: &[&str]| {
            let ports =
                straight.iter().map(|it| (it.address, 81)).chain(others.iter().map(|other| (other.map(ip), 81)));
            let straight = straight.iter().copied().cloned().collect();
            let claims = Claims { all: false, ports: ports.collect(), straight };
            let addresses: Vec<_> = addresses.iter().map(|text| ip(text)).collect();
            claims.straight(&addresses).into_keys().map(|asked| asked.to_string()).collect::<Vec<_>>()
        };
        let both = ["10.0.0.1", "fd00::1"];
        assert_eq!(of(&[&v4, &v6], &[], &both), ["0.0.0.0:81", "[::]:81"]);
        // The other family's listener does more, or this workload has two addresses of its family.
        assert_eq!(of(&[&v4], &[None], &both), Vec::<String>::new());
        assert_eq!(of(&[&v4, &v6], &[], &["10.0.0.1", "fd00::1", "fd00::2"]), Vec::<String>::new());
        // What others listen to does not matter.
        let own = listener(Some("10.0.0.1"), "10.0.0.1:81");
        assert_eq!(of(&[&own], &[Some("10.0.0.2")], &both), ["10.0.0.1:81"]);
        assert_eq!(of(&[&own], &[Some("fd00::1")], &both), Vec::<String>::new());
    }

    #[test]
    fn what_is_lost_is_said_with_what_is_left() {
        let before = services(&[("1.0.0.1:1", &["2.0.0.1:1", "2.0.0.2:1"]), ("1.0.0.2:1", &["2.0.0.1:1"])]);
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(before.lost(&before.clone()), Lost::default());
        // More endpoints, or no service of the kernel's any more: nothing is lost.
        assert_eq!(before.lost(&services(&[("1.0.0.1:1", &["2.0.0.1:1", "2.0.0.2:1", "2.0.0.3:1"])])), Lost::default());
        let left = |all: &[&str]| {
            let endpoints = all.iter().map(|text| address(text)).collect();
            Left { endpoints, by_client: None }
        };
        let lost = before.lost(&services(&[("1.0.0.1:1", &["2.0.0.2:1"]), ("1.0.0.2:1", &[])]));
        let services = [(address("1.0.0.1:1"), left(&["2.0.0.2:1"])), (address("1.0.0.2:1"), left(&[]))];
        assert_eq!(lost, Lost([((Protocol::Tcp, address("2.0.0.1:1")), services.into())].into()));
        // Back again, gone elsewhere, and no longer a service.
        assert_eq!(lost.as_of(&before), Lost::default());
        let now = self::services(&[("1.0.0.2:1", &["2.0.0.3:1"])]);
        let services = [(address("1.0.0.2:1"), left(&["2.0.0.3:1"]))];
        assert_eq!(lost.as_of(&now), Lost([((Protocol::Tcp, address("2.0.0.1:1")), services.into())].into()));
    }
}
