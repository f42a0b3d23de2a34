//! Connections that wait for their next request, by target.
//!
//! The connection used last is used next, so that those not needed grow old and go. The pool is plain data of one data thread: it
//! knows no protocol (the caller says whether a connection is alive) and reads no clock.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::transport::TargetKey;

/// Most idle connections of one thread; more are closed when they come back.
const LIMIT: usize = 16_384;
/// How long a connection may be idle: Envoy's default.
pub const MAX_IDLE: Duration = Duration::from_secs(3600);

/// Idle connections of type `C`.
#[derive(Debug)]
pub struct IdlePool<C> {
    by_target: HashMap<TargetKey, Vec<(Instant, C)>>,
    count: usize,
}

impl<C> Default for IdlePool<C> {
    fn default() -> Self {
        Self { by_target: HashMap::new(), count: 0 }
    }
}

impl<C> IdlePool<C> {
    /// The connection to `key` that became idle last and is still alive. Dead ones before it are closed.
    pub fn take(&mut self, key: &TargetKey, alive: impl Fn(&C) -> bool) -> Option<C> {
        let idle = self.by_target.get_mut(key)?;
        while let Some((_, connection)) = idle.pop() {
            self.count -= 1;
            if alive(&connection) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps `connection` for later, unless there are too many.
    pub fn give(&mut self, key: TargetKey, connection: C, now: Instant) {
        if self.count < LIMIT {
            self.by_target.entry(key).or_default().push((now, connection));
            self.count += 1;
        }
    }

    /// Closes what is dead, too old, or leads where nobody wants to go any more.
    pub fn sweep(&mut self, now: Instant, alive: impl Fn(&C) -> bool, wanted: impl Fn(SocketAddr) -> bool) {
        self.by_target.retain(|key, idle| {
            let wanted = wanted(key.address());
            idle.retain(|(since, connection)| wanted && now.duration_since(*since) < MAX_IDLE && alive(connection));
            !idle.is_empty()
        });
        self.count = self.by_target.values().map(Vec::len).sum();
    }

    /// How many connections are idle.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}
