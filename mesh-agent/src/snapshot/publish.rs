//! The one place where the current snapshot is: one store, seen by every data thread at its next connection or request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Cache};
use tokio::sync::watch;

use crate::snapshot::Snapshot;

/// Writes the current snapshot. Held by the rollout alone.
#[derive(Debug)]
pub struct Publisher {
    current: Arc<ArcSwap<Snapshot>>,
    tick: watch::Sender<u64>,
    next: AtomicU64,
}

impl Default for Publisher {
    fn default() -> Self {
        Self {
            current: Arc::new(ArcSwap::from_pointee(Snapshot::default())),
            tick: watch::Sender::new(0),
            next: AtomicU64::new(1),
        }
    }
}

impl Publisher {
    /// Numbers `snapshot` and makes it the current one.
    pub fn publish(&self, mut snapshot: Snapshot) -> Arc<Snapshot> {
        snapshot.version = self.next.fetch_add(1, Ordering::Relaxed);
        let snapshot = Arc::new(snapshot);
        self.current.store(Arc::clone(&snapshot));
        self.tick.send_replace(snapshot.version);
        snapshot
    }

    /// A reader for one thread.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader { cache: Cache::new(Arc::clone(&self.current)), tick: self.tick.subscribe() }
    }
}

/// Reads the current snapshot from one thread: a pointer comparison unless it changed.
#[derive(Debug, Clone)]
pub struct Reader {
    cache: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    tick: watch::Receiver<u64>,
}

impl Reader {
    /// The snapshot of now.
    pub fn current(&mut self) -> &Arc<Snapshot> {
        self.cache.load()
    }

    /// Waits until another snapshot is published. `false` when there will be none.
    pub async fn changed(&mut self) -> bool {
        self.tick.changed().await.is_ok()
    }
}
