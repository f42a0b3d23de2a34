//! The operator's interface: HTTP on a Unix socket and, if configured, on a loopback address.
//!
//! It runs on the control runtime, away from the data threads, and only reads: the one thing it can change is to start
//! draining. The Unix socket belongs to the agent's user alone. On TCP anybody of this host may ask, so a request must name the
//! loopback as its host, which a web page in somebody's browser cannot do for a name of its own (DNS rebinding).

mod ask;
mod bind;
mod clusters;
mod config;
mod csds;
mod dump;
mod respond;
mod serve;
#[cfg(test)]
mod tests;
mod workload;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::drain::Trigger;
use crate::model::config::{Accelerated, Config};
use crate::model::management::{KnownResources, Standing};
use crate::snapshot::{Reader, Snapshot};
use crate::telemetry::Telemetry;

pub use ask::{AskError, get, get_json};
pub use bind::{BindError, Listeners};
pub use config::{ConfigView, FileView, KindView, LastGoodView, OnDemandView};
pub use workload::{WorkloadState, WorkloadView};

/// What the interface shows.
pub struct Admin {
    /// The configuration as read; listeners and clusters are shown from the snapshot instead.
    pub config: Arc<Config>,
    /// Who the agent says it is: an encoded `envoy.config.core.v3.Node`.
    pub node: Bytes,
    /// The configuration as it is in force.
    pub snapshots: Reader,
    /// What was recorded.
    pub telemetry: Arc<Telemetry>,
    /// The workloads of this node, as they are now.
    pub workloads: Box<dyn Fn() -> Vec<WorkloadView> + Send + Sync>,
    /// How it stands with the management server, if there is one.
    pub management: Box<dyn Fn() -> Option<Standing> + Send + Sync>,
    /// What it sent, or was asked for.
    pub known: Box<dyn Fn() -> KnownResources + Send + Sync>,
    /// What became of acceleration, as soon as that is known.
    pub acceleration: Arc<OnceLock<Accelerated>>,
    /// Whether traffic is served.
    pub readiness: Readiness,
    /// What `POST /drain` starts.
    pub drain: Trigger,
}

impl Admin {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(self.snapshots.clone().current())
    }
}

impl Admin {
    fn live(&self) -> dump::Live {
        dump::Live {
            config: Arc::clone(&self.config),
            snapshot: self.snapshot(),
            standing: (self.management)().unwrap_or_default(),
            known: (self.known)(),
            acceleration: self.acceleration.get().cloned(),
        }
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

/// Whether the agent serves traffic: `/readyz` fails until it is set.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// From now on the agent serves.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it does.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
