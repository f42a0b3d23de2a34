//! The mesh on this node, from the configured workloads to sockets that listen inside them.

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::model::config;
use crate::model::flow::{Direction, Pod, Steering};

/// How to start a [`Mesh`].
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Data workers; each gets a listener of its own on every pod's ports.
    pub workers: NonZeroUsize,
    /// Pass what the kernel programs log on to the agent's log.
    pub kernel_log: bool,
}

/// A listening, non-blocking socket inside a pod.
#[derive(Debug)]
pub struct PodListener {
    /// Which data worker it is for, from 0.
    pub worker: usize,
    /// What arrives there. Outbound: ask [`Steering`] for the original destination. Inbound: the accepted socket's own address
    /// is the original destination.
    pub direction: Direction,
    /// Whose connections arrive.
    pub pod: Arc<Pod>,
    /// The socket.
    pub listener: TcpListener,
}

/// Why the mesh could not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// Placeholder until the kernel side lands.
    #[error("the kernel side is not built yet; run with --no-kernel")]
    NotYet,
}

/// The running mesh. To be dropped after the last connection: that detaches the programs.
#[derive(Debug)]
pub struct Mesh {
    steering: Arc<dyn Steering>,
    pods: Vec<Arc<Pod>>,
    listeners: Vec<PodListener>,
}

impl Mesh {
    /// Finds the workloads, opens their sockets, then loads and attaches the kernel programs: nothing is steered before
    /// something listens.
    ///
    /// # Errors
    /// See [`MeshError`]. Nothing stays behind.
    pub fn start(config: &config::Mesh, options: Options) -> Result<Self, MeshError> {
        let _ = (config, options);
        Err(MeshError::NotYet)
    }

    /// What the data path asks of the kernel.
    #[must_use]
    pub fn steering(&self) -> Arc<dyn Steering> {
        Arc::clone(&self.steering)
    }

    /// The workloads that run now.
    #[must_use]
    pub fn pods(&self) -> &[Arc<Pod>] {
        &self.pods
    }

    /// The sockets to accept from; the second call has none.
    pub fn take_listeners(&mut self) -> Vec<PodListener> {
        std::mem::take(&mut self.listeners)
    }

    /// To be called about once a second: forgets the workloads whose namespace or cgroup is gone, puts the kernel's maps
    /// right where they drifted, and answers who went. The caller closes their listeners and connections.
    pub fn tick(&mut self) -> Vec<Arc<Pod>> {
        Vec::new()
    }

    /// To be called when draining starts: new connections go their own way from now on; those that are here go on.
    pub fn stop_steering(&mut self) {}

    /// Reads what the kernel programs counted so far: name, help, value. For another thread to keep.
    pub fn counter_reader(&self) -> impl Fn() -> Vec<(&'static str, &'static str, u64)> + Send + Sync + 'static {
        Vec::new
    }
}
