//! Between whom a connection is that goes past the agent: names for the addresses that the kernel tells.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::endpoint::Endpoint;
use crate::model::event::Event;
use crate::model::flow::{Direction, Pod};
use crate::snapshot::{LiveFilter, LiveListener, Reader, Snapshot};
use crate::telemetry::{Destination, Parties, Source};

/// Names by the configuration of now and the workloads that run. Answers nothing for what comes in from a workload of this node:
/// its own end tells of that connection.
pub(super) fn naming(
    mut snapshots: Reader,
    pods: Arc<Mutex<Vec<Arc<Pod>>>>,
) -> impl FnMut(&Event) -> Option<Parties> + Send + 'static {
    move |event| {
        let pods = pods.lock().unwrap_or_else(PoisonError::into_inner);
        name(event, &pods, snapshots.current())
    }
}

fn name(event: &Event, pods: &[Arc<Pod>], snapshot: &Snapshot) -> Option<Parties> {
    let own = || pods.iter().find(|pod| pod.id == event.pod).map(|pod| &pod.workload.name);
    match event.direction {
        Direction::Inbound if at(pods, event.client.ip()).is_some() => None,
        Direction::Inbound => {
            let destination = own().map_or(Destination::Other, Destination::from);
            Some(Parties { source: Source::Unknown, destination, listener: None })
        }
        Direction::Outbound => {
            let listener = if event.reason.bypass { None } else { snapshot.listener_for(event.direction, event.asked) };
            let destination = listener.and_then(|listener| cluster(snapshot, listener, event.server));
            Some(Parties {
                source: own().cloned().map_or(Source::Unknown, Source::Workload),
                destination: destination.unwrap_or_else(|| {
                    at(pods, event.server.ip())
                        .map_or(Destination::Passthrough, |pod| Destination::from(&pod.workload.name))
                }),
                listener: listener.map(|listener| listener.config.name.clone()),
            })
        }
    }
}

fn at(pods: &[Arc<Pod>], address: IpAddr) -> Option<&Arc<Pod>> {
    pods.iter().find(|pod| pod.workload.addresses.contains(&address))
}

/// The cluster of a TCP proxy that has this endpoint, or its only one.
fn cluster(snapshot: &Snapshot, listener: &LiveListener, server: SocketAddr) -> Option<Destination> {
    let chains = listener.chains.iter().chain(&listener.default_chain);
    let clusters = chains.filter_map(|chain| match &chain.filter {
        LiveFilter::Tcp(tcp) => Some(tcp.clusters.each()),
        LiveFilter::Http(_) => None,
    });
    let clusters: Vec<_> = clusters.flatten().filter_map(|(slot, _)| snapshot.cluster(slot)).collect();
    let has = |endpoints: &[Arc<Endpoint>]| endpoints.iter().any(|it| it.address == server);
    let found = clusters.iter().find(|cluster| has(&cluster.endpoints.endpoints));
    let only = if let [only] = clusters.as_slice() { Some(only) } else { None };
    let cluster = found.or(only)?;
    // The kernel's connections are uses as well, which nobody else sees.
    cluster.touch();
    Some(Destination::from(cluster.name()))
}
