//! Which tier a listener is: derived from the configuration, never configured.
//!
//! A service whose every connection ends as bytes to some endpoint needs no agent: the kernel chooses the endpoint while the app
//! connects (T1). Whatever has to be looked at, changed, timed or bridged keeps it at the agent (T2, T3), which is never wrong:
//! so a doubt is decided for the agent. Pure: a snapshot in, plain data out.

mod follow;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use follow::{Follower, Step};

use crate::model::authz::Rules;
use crate::model::endpoint::{Availability, Endpoint, Slots};
use crate::model::filter::DEFAULT_IDLE_TIMEOUT;
use crate::model::flow::Direction;
use crate::model::listener::ChainMatch;
use crate::model::name::ListenerName;
use crate::model::service::{ByClient, ByKernel, Claims, Protocol, Service, Services, Straight};
use crate::snapshot::{EndpointSet, LiveChain, LiveFilter, LiveListener, LiveUdp, Snapshot, TcpChain};

/// What the kernel does by itself under this snapshot.
#[must_use]
pub fn by_kernel(snapshot: &Snapshot) -> ByKernel {
    ByKernel { services: services(snapshot), inbound: claims(snapshot), rules: rules(snapshot) }
}

/// What comes in must see the agent where some listener could take it. What no listener takes would pass through the agent as it
/// is: it may as well pass it by.
fn claims(snapshot: &Snapshot) -> Claims {
    let mut claims = Claims::default();
    for live in snapshot.listeners().iter().filter(|live| live.config.direction == Direction::Inbound) {
        let address = live.config.address;
        claims.all |= live.config.catch_all;
        let ip = (!address.ip().is_unspecified()).then_some(address.ip());
        claims.ports.push((ip, address.port()));
        claims.straight.extend(straight(snapshot, live, ip));
    }
    claims
}

/// A listener that does no more than ask its policy, if its one endpoint is the workload itself.
fn straight(snapshot: &Snapshot, live: &LiveListener, address: Option<IpAddr>) -> Option<Straight> {
    let config = &live.config;
    let chain = only_chain(live)?;
    if config.bind || config.catch_all || config.detect.is_some() || chain.authorization.is_empty() {
        return None;
    }
    let service = bytes_only(chain).and_then(|tcp| multiply_out(snapshot, &config.name, tcp))?;
    let ([(Some(endpoint), _)], []) = (service.shares.as_slice(), service.resting.as_slice()) else { return None };
    let same = endpoint.port() == config.address.port() && endpoint.is_ipv4() == config.address.is_ipv4();
    same.then(|| Straight { address, endpoint: *endpoint, rules: chain.authorization.as_slice().into() })
}

/// Who may connect to the services.
fn rules(snapshot: &Snapshot) -> BTreeMap<SocketAddr, Arc<[Rules]>> {
    let rules = |live: &Arc<LiveListener>| {
        let chain = only_chain(live).filter(|chain| !chain.authorization.is_empty())?;
        service(snapshot, live).map(|_| (live.config.address, chain.authorization.as_slice().into()))
    };
    snapshot.listeners().iter().filter_map(rules).collect()
}

/// Every service of the snapshot that needs no agent.
fn services(snapshot: &Snapshot) -> Services {
    let service =
        |live: &Arc<LiveListener>| Some(((Protocol::Tcp, live.config.address), Arc::new(service(snapshot, live)?)));
    let udp = |live: &LiveUdp| ((Protocol::Udp, live.config.address), Arc::new(udp_service(snapshot, live)));
    let tcp = snapshot.listeners().iter().filter_map(service);
    Services(tcp.chain(snapshot.udp_listeners().iter().map(udp)).collect())
}

/// A listener that needs no agent, as a service. `None`: it needs one.
fn service(snapshot: &Snapshot, live: &LiveListener) -> Option<Service> {
    let config = &live.config;
    let is_service = config.direction == Direction::Outbound && !config.bind && !config.catch_all;
    if !is_service || config.address.ip().is_unspecified() || config.detect.is_some() {
        return None;
    }
    multiply_out(snapshot, &config.name, bytes_only(only_chain(live)?)?).filter(|service| {
        // An app's socket for IPv4 reaches no IPv6, and one for IPv6 may be told to speak nothing else.
        service.endpoints().all(|endpoint| endpoint.is_ipv4() == config.address.is_ipv4())
    })
}

/// The TCP proxy of a chain that has nothing to do but move bytes.
fn bytes_only(chain: &LiveChain) -> Option<&TcpChain> {
    let LiveFilter::Tcp(tcp) = &chain.filter else { return None };
    // The kernel closes nothing that is idle. Envoy's hour, which nobody asked for, is given up for a connection that costs
    // nothing; a time that was written down is kept.
    tcp.config.idle_timeout.is_none_or(|timeout| timeout == DEFAULT_IDLE_TIMEOUT).then_some(&**tcp)
}

/// UDP has no agent to go through. Of names that have addresses of both families, those of the listener's count. A flow does not
/// stay with an endpoint that is not well.
fn udp_service(snapshot: &Snapshot, live: &LiveUdp) -> Service {
    let mut service =
        Service { listener: live.config.name.clone(), shares: Vec::new(), resting: Vec::new(), by_client: None };
    // One that has come to want TLS, which UDP does not have, is sent nothing.
    let Some(cluster) = snapshot.cluster(live.cluster).filter(|cluster| cluster.tls.is_none()) else { return service };
    let fits = |endpoint: &Endpoint| endpoint.address.is_ipv4() == live.config.address.is_ipv4();
    for (endpoint, share) in cluster.endpoints.each().filter(|(endpoint, _)| fits(endpoint)) {
        if share > 0.0 {
            service.shares.push((Some(endpoint.address), share));
        } else if matches!(endpoint.health.availability(), Availability::Full | Availability::Degraded) {
            service.resting.push(endpoint.address);
        }
    }
    if live.config.proxy.by_client {
        let family = |index: &u32| fits(&cluster.endpoints.endpoints[*index as usize]);
        let all_fit = |table: &Slots| table.members.iter().all(family);
        service.by_client = match &cluster.endpoints.slots {
            Some(table) if !all_fit(table) => by_client(&cluster.endpoints.only(&cluster.config, fits)),
            _ => by_client(&cluster.endpoints),
        };
    }
    service
}

/// The one chain that takes every connection.
fn only_chain(live: &LiveListener) -> Option<&LiveChain> {
    match (live.chains.as_slice(), &live.default_chain) {
        ([chain], _) if chain.matches == ChainMatch::default() => Some(chain),
        ([], Some(chain)) => Some(chain),
        _ => None,
    }
}

/// The weights of clusters and the shares of their endpoints as one. A cluster with nowhere to go keeps its share, which leads
/// nowhere, as at the agent.
fn multiply_out(snapshot: &Snapshot, listener: &ListenerName, tcp: &TcpChain) -> Option<Service> {
    let mut service = Service { listener: listener.clone(), shares: Vec::new(), resting: Vec::new(), by_client: None };
    if tcp.config.by_client {
        let clusters: Vec<_> = tcp.clusters.each().filter(|(_, weight)| *weight > 0).collect();
        let tables = clusters.iter().filter_map(|(slot, _)| by_client(&snapshot.cluster(*slot)?.endpoints));
        service.by_client = tables.collect::<Vec<_>>().pop();
        // Between clusters the agent throws dice, and only then the client decides.
        if service.by_client.is_some() && clusters.len() > 1 {
            return None;
        }
    }
    for (slot, weight) in tcp.clusters.each() {
        let (before, weight) = (service.shares.len(), f64::from(weight));
        // The kernel speaks no TLS.
        let cluster = snapshot.cluster(slot).filter(|cluster| cluster.tls.is_none())?;
        for (endpoint, share) in cluster.endpoints.each() {
            if weight * share > 0.0 {
                service.shares.push((Some(endpoint.address), weight * share));
            } else {
                service.resting.push(endpoint.address);
            }
        }
        if service.shares.len() == before && weight > 0.0 {
            service.shares.push((None, weight));
        }
    }
    if service.shares.iter().all(|(endpoint, _)| endpoint.is_none()) {
        service.shares.clear();
    }
    Some(service)
}

/// How the client decides in a cluster that chooses by hash.
fn by_client(set: &EndpointSet) -> Option<ByClient> {
    let table = Arc::clone(set.slots.as_ref()?);
    let members = table.members.iter().filter_map(|&index| set.endpoints.get(index as usize));
    Some(ByClient { members: members.map(|endpoint| endpoint.address).collect(), table })
}
