//! What the connections of one data thread share.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::balance::Balancers;
use crate::model::cluster::Endpoint;
use crate::model::flow::{Pod, Steering};
use crate::proxy::connection::Origin;
use crate::snapshot::{LiveCluster, Reader, Snapshot};
use crate::transport::{self, ConnectError, Target};

/// One data thread's state. Borrowed for the length of a statement, never across an `await`.
#[derive(Debug)]
pub struct Worker {
    snapshots: RefCell<Reader>,
    balancers: RefCell<Balancers>,
    random: Cell<u64>,
    steering: Option<Arc<dyn Steering>>,
    local: RefCell<HashMap<IpAddr, Arc<Pod>>>,
}

impl Worker {
    /// State of a new thread. `seed` must differ between threads.
    #[must_use]
    pub fn new(snapshots: Reader, steering: Option<Arc<dyn Steering>>, seed: u64) -> Self {
        Self {
            snapshots: RefCell::new(snapshots),
            balancers: RefCell::default(),
            random: Cell::new(seed | 1),
            steering,
            local: RefCell::default(),
        }
    }

    /// The configuration of now. Take it once per connection (TCP) or request (HTTP).
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(self.snapshots.borrow_mut().current())
    }

    /// A cheap random number (xorshift64*): for choices by weight, never for secrets.
    pub fn random(&self) -> u32 {
        let mut state = self.random.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.random.set(state);
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    /// The cluster's endpoint whose turn it is.
    pub fn pick(&self, cluster: &LiveCluster) -> Option<Arc<Endpoint>> {
        self.balancers.borrow_mut().pick(cluster, self.random())
    }

    /// How to reach `address` for a connection from `origin`: inside the namespace of the workload that has the address if it is
    /// one of this node's, else from where the client is.
    pub fn target(&self, address: SocketAddr, origin: &Origin) -> Target {
        if let Some(pod) = self.local.borrow().get(&address.ip()) {
            let client = origin.pod.is_some().then_some(origin.peer);
            return Target { address, place: Some(Arc::clone(pod)), client };
        }
        Target { address, place: origin.pod.clone(), client: None }
    }

    /// Connects to `target` within the cluster's deadline.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(&self, target: &Target, timeout: Duration) -> Result<TcpStream, ConnectError> {
        transport::connect(target, self.steering.as_deref(), timeout).await
    }

    /// The workload of `pod` now runs on this node: its addresses are reached inside its namespace.
    pub fn add_local(&self, pod: &Arc<Pod>) {
        let mut local = self.local.borrow_mut();
        for address in &pod.workload.addresses {
            local.insert(*address, Arc::clone(pod));
        }
    }

    /// The workload of `pod` is gone.
    pub fn remove_local(&self, pod: &Arc<Pod>) {
        self.local.borrow_mut().retain(|_, other| other.id != pod.id);
    }
}
