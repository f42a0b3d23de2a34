//! What all requests of one downstream connection share.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::model::extension::Router;
use crate::proxy::connection::Origin;
use crate::proxy::worker::Worker;
use crate::snapshot::{ClusterSlot, HttpChain, LiveCluster};
use crate::telemetry::{ConnectionGuard, Destination, Edge};

/// How long a client may take for its first request when the agent drains.
const FIRST: Duration = Duration::from_secs(1);

/// One downstream connection, or one stream of it.
pub(crate) struct Session {
    pub(crate) worker: Rc<Worker>,
    pub(crate) chain: Arc<HttpChain>,
    pub(crate) origin: Rc<Origin>,
    pub(crate) listed: Rc<ConnectionGuard>,
    pub(crate) alarm: Alarm,
    /// The HTTP filter as it is for the request of the moment.
    pub(crate) router: Router,
    drain: Option<Pin<Box<dyn Future<Output = ()>>>>,
    leaves: Option<Instant>,
    /// Counters of the cluster that was used last.
    edge: Option<(ClusterSlot, Arc<Edge>)>,
    /// Counters of what the agent answered itself.
    agent_edge: Option<Arc<Edge>>,
}

impl Session {
    pub(crate) fn new(
        worker: &Rc<Worker>,
        chain: &Arc<HttpChain>,
        origin: &Rc<Origin>,
        listed: &Rc<ConnectionGuard>,
    ) -> Self {
        Self {
            worker: Rc::clone(worker),
            chain: Arc::clone(chain),
            origin: Rc::clone(origin),
            listed: Rc::clone(listed),
            alarm: Alarm::default(),
            router: Router::default(),
            drain: None,
            leaves: None,
            edge: None,
            agent_edge: None,
        }
    }

    /// The same for a stream of the connection, which is a task of its own.
    pub(crate) fn fork(&self) -> Self {
        let mut fork = Self::new(&self.worker, &self.chain, &self.origin, &self.listed);
        fork.edge.clone_from(&self.edge);
        fork
    }

    /// Whether the agent drains. If not, the task is woken when that begins.
    pub(crate) fn poll_draining(&mut self, cx: &mut Context<'_>) -> bool {
        let drain = &self.worker.drain;
        // Asked for once: the task, and so its waker, stays the same.
        if self.drain.is_none() {
            let signaled = self.drain.insert(Box::pin(drain.signaled()));
            if signaled.as_mut().poll(cx).is_ready() {
                return true;
            }
        }
        drain.draining()
    }

    /// If the agent drains: until when a client may ask for something that has asked for nothing yet. It may have connected a moment
    /// before, and a closed connection would tell it that its request failed.
    pub(crate) fn leaves(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        if !self.poll_draining(cx) {
            return None;
        }
        Some(*self.leaves.get_or_insert_with(|| Instant::now() + FIRST))
    }

    /// Where traffic to `cluster` is counted.
    pub(crate) fn edge(&mut self, cluster: &LiveCluster) -> Arc<Edge> {
        match &self.edge {
            Some((slot, edge)) if *slot == cluster.slot => Arc::clone(edge),
            _ => {
                let destination = Destination::Cluster(cluster.name().clone());
                let edge = self.worker.telemetry.edge(&self.origin.source, destination.clone());
                self.listed.set_destination(destination);
                self.edge = Some((cluster.slot, Arc::clone(&edge)));
                edge
            }
        }
    }

    /// Where requests are counted that go nowhere.
    pub(crate) fn agent_edge(&mut self) -> &Edge {
        let (worker, origin) = (&self.worker, &self.origin);
        self.agent_edge.get_or_insert_with(|| worker.telemetry.edge(&origin.source, Destination::Agent))
    }
}

/// One timer for all the deadlines of a connection.
///
/// Registering a timer costs more than looking at a clock, and nearly all deadlines are moved on before they come. So the timer is
/// left where it is when a deadline moves on; when it fires too early it is set again.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    registered: bool,
}

impl Alarm {
    /// Ready when `deadline` has come. Always to be polled by the same task.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
            self.registered = false;
        }
        loop {
            if self.registered && !sleep.is_elapsed() {
                return Poll::Pending;
            }
            // Without budget the timer answers "pending" and registers nothing; the task is polled again at once.
            self.registered = tokio::task::coop::has_budget_remaining();
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
            self.registered = false;
        }
    }
}
