//! Between whom a connection is that goes past the agent: names for the addresses that the kernel tells.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::endpoint::Endpoint;
use crate::model::event::{Event, Kind};
use crate::model::flow::{Direction, Pod};
use crate::snapshot::{LiveFilter, LiveListener, Reader, Snapshot};
use crate::telemetry::{Destination, Parties, Source};

/// Names by the configuration of now and the workloads that run. Answers nothing for a connection that comes in from a workload of
/// this node: its own end tells of it.
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
        Direction::Inbound => {
            let client = at(pods, event.client.ip());
            // Of one that was refused at the door its own end does not know why, nor that it was.
            if client.is_some() && event.kind != Kind::Denied {
                return None;
            }
            let source = client.map_or(Source::Unknown, |pod| Source::Workload(pod.workload.name.clone()));
            Some(Parties { source, destination: own().map_or(Destination::Other, Destination::from), listener: None })
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use socket2::{Domain, Socket};

    use super::*;
    use crate::model::event::{ConnectionId, Numbers, Reason};
    use crate::model::flow::{OpenSocket, PodId};
    use crate::model::workload::{Mode, Workload};

    #[derive(Debug)]
    struct Nowhere;

    impl OpenSocket for Nowhere {
        fn tcp(&self, _: Domain) -> std::io::Result<Socket> {
            unreachable!("names open no sockets")
        }
    }

    fn pod(id: u32, name: &str, address: &str) -> Arc<Pod> {
        let workload = Workload {
            name: name.into(),
            namespace: "default".to_owned(),
            service_account: "default".to_owned(),
            labels: std::collections::BTreeMap::new(),
            netns: None,
            cgroup: None,
            addresses: vec![address.parse().unwrap()],
            mode: Mode::Permissive,
        };
        Arc::new(Pod { id: PodId(id), workload, identity: "".into(), netns: Arc::new(Nowhere) })
    }

    #[test]
    fn what_comes_in_from_here_is_told_by_its_own_end_unless_it_was_refused() {
        let pods = [pod(1, "app", "10.0.0.1"), pod(2, "server", "10.0.0.2")];
        let source = |kind, client: &str| {
            let server = "10.0.0.2:80".parse().unwrap();
            let event = Event {
                kind,
                pod: PodId(2),
                direction: Direction::Inbound,
                connection: ConnectionId { since: 0, pod: PodId(2), ports: (80, 4000) },
                client: client.parse().unwrap(),
                asked: server,
                server,
                reason: Reason { label: "inbound_denied_policy", bypass: false },
                policy: None,
                age: Duration::ZERO,
                numbers: Numbers::default(),
            };
            name(&event, &pods, &Snapshot::default()).map(|parties| parties.source)
        };
        assert_eq!(source(Kind::Opened, "10.0.0.1:4000"), None);
        assert_eq!(source(Kind::Denied, "10.0.0.1:4000"), Some(Source::Workload("app".into())));
        for kind in [Kind::Opened, Kind::Denied] {
            assert_eq!(source(kind, "192.0.2.1:4000"), Some(Source::Unknown));
        }
    }
}
