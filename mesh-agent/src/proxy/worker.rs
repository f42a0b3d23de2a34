//! What the connections of one data thread share.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::balance::Balancers;
use crate::drain::Watcher;
use crate::model::endpoint::Endpoint;
use crate::model::flow::{Direction, Pod, Steering};
use crate::proxy::connection::Origin;
use crate::proxy::detect::ServerFirst;
use crate::proxy::hold::{Asker, Holds};
use crate::proxy::http::thread::HttpThread;
use crate::proxy::tcp::Scratch;
use crate::snapshot::{LiveCluster, Reader, Snapshot};
use crate::telemetry::WorkerTelemetry;
use crate::transport::{self, ConnectError, Stream, Target};

/// What a data thread is given to work with.
#[derive(Debug)]
pub struct Tools {
    /// Where the configuration of now is read.
    pub snapshots: Reader,
    /// The kernel programs' maps, if there are kernel programs.
    pub steering: Option<Arc<dyn Steering>>,
    /// Where this thread counts.
    pub telemetry: WorkerTelemetry,
    /// Tells when to come to an end.
    pub drain: Watcher,
    /// Which servers speak first; shared by all threads.
    pub server_first: Arc<ServerFirst>,
    /// How to ask for what is cold, if anything can be.
    pub asker: Option<Asker>,
}

/// One data thread's state. Borrowed for the length of a statement, never across an `await`.
#[derive(Debug)]
pub(super) struct Worker {
    /// Where this thread counts.
    pub(super) telemetry: WorkerTelemetry,
    /// Tells when to come to an end.
    pub(super) drain: Watcher,
    pub(super) steering: Option<Arc<dyn Steering>>,
    pub(super) server_first: Arc<ServerFirst>,
    pub(super) scratch: Scratch,
    /// What waits for the configuration.
    pub(super) holds: Holds,
    /// What this thread's HTTP connections share.
    pub(super) http: HttpThread,
    snapshots: RefCell<Reader>,
    balancers: RefCell<Balancers>,
    random: Cell<u64>,
    local: RefCell<HashMap<IpAddr, Arc<Pod>>>,
}

impl Worker {
    /// State of a new thread. `seed` must differ between threads.
    #[must_use]
    pub(super) fn new(tools: Tools, seed: u64) -> Self {
        Self {
            telemetry: tools.telemetry,
            drain: tools.drain,
            steering: tools.steering,
            server_first: tools.server_first,
            scratch: Scratch::default(),
            holds: Holds::new(tools.asker),
            http: HttpThread::default(),
            snapshots: RefCell::new(tools.snapshots),
            balancers: RefCell::default(),
            random: Cell::new(seed | 1),
            local: RefCell::default(),
        }
    }

    /// The configuration of now. Take it once per connection (TCP) or request (HTTP).
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(self.snapshots.borrow_mut().current())
    }

    /// A cheap random number (xorshift64*): for choices by weight, never for secrets.
    pub(super) fn random(&self) -> u32 {
        let mut state = self.random.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.random.set(state);
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    /// The cluster's endpoint whose turn it is, or that is `client`'s where that is to decide.
    pub(super) fn pick(&self, cluster: &LiveCluster, client: Option<IpAddr>) -> Option<Arc<Endpoint>> {
        cluster.touch();
        self.balancers.borrow_mut().pick(cluster, client, self.random())
    }

    /// How to reach `address` for a connection from `origin`: inside the namespace of the workload that has the address if it is
    /// one of this node's, else from where the client is. The app of a workload sees the client; one that is reached through a
    /// listener of the agent's own sees the agent, since the client is not of this mesh.
    pub(super) fn target(&self, address: SocketAddr, origin: &Origin) -> Target {
        let local = match (&origin.pod, origin.direction) {
            // What was steered to a pod is delivered there, whatever addresses its configuration lists.
            (Some(pod), Direction::Inbound) => Some(Arc::clone(pod)),
            _ => self.local.borrow().get(&address.ip()).cloned(),
        };
        match local {
            Some(pod) => {
                Target { address, client: origin.pod.is_some().then_some(origin.peer), place: Some(pod), tls: None }
            }
            None => Target { address, client: None, place: origin.pod.clone(), tls: None },
        }
    }

    /// The workload of this node that has `address`.
    pub(super) fn local_pod(&self, address: IpAddr) -> Option<Arc<Pod>> {
        self.local.borrow().get(&address).cloned()
    }

    /// Connects to `target` within the cluster's deadline.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub(super) async fn connect(&self, target: &Target, timeout: Duration) -> Result<Stream, ConnectError> {
        let connected = transport::connect(target, self.steering.as_deref(), timeout).await;
        if let (Err(error @ ConnectError::Tls { .. }), Some((client, _))) = (&connected, &target.tls)
            && client.may_complain()
        {
            tracing::warn!(%error, "connections that want it fail; for a minute that is told at level debug only");
        }
        connected
    }

    /// The workload of `pod` now runs on this node: its addresses are reached inside its namespace.
    pub(super) fn add_local(&self, pod: &Arc<Pod>) {
        let mut local = self.local.borrow_mut();
        for address in &pod.workload.addresses {
            local.insert(*address, Arc::clone(pod));
        }
    }

    /// The workload of `pod` is gone.
    pub(super) fn remove_local(&self, pod: &Arc<Pod>) {
        self.local.borrow_mut().retain(|_, other| other.id != pod.id);
    }
}
