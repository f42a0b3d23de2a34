//! Connections that wait for their next request, by target.
//!
//! The connection used last is used next, so that those not needed grow old and go. The pool is plain data of one data thread: it
//! knows no protocol (the caller says whether a connection is alive) and reads no clock. Who used a target last it only keeps: whether
//! that one still wants to go there takes a look at its endpoints, and not at everybody's.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use tokio::time::Instant;

use crate::transport::TargetKey;

/// Most idle connections of one thread; more are closed when they come back.
const LIMIT: usize = 16_384;
/// How long a connection may be idle: Envoy's default.
pub const MAX_IDLE: Duration = Duration::from_secs(3600);

/// Idle connections of type `C`, and which `U` went to their target last.
#[derive(Debug)]
pub struct IdlePool<C, U> {
    by_target: HashMap<TargetKey, Idle<C, U>>,
    count: usize,
}

/// Those to one target.
#[derive(Debug)]
struct Idle<C, U> {
    user: U,
    connections: Vec<(Instant, C)>,
}

impl<C, U> Default for IdlePool<C, U> {
    fn default() -> Self {
        Self { by_target: HashMap::new(), count: 0 }
    }
}

impl<C, U> IdlePool<C, U> {
    /// The connection to `key` that became idle last and is still alive. Dead ones before it are closed.
    pub fn take(&mut self, key: &TargetKey, alive: impl Fn(&C) -> bool) -> Option<C> {
        let idle = self.by_target.get_mut(key)?;
        while let Some((_, connection)) = idle.connections.pop() {
            self.count -= 1;
            if alive(&connection) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection that `user` used for later, unless there are too many.
    pub fn give(&mut self, key: TargetKey, user: U, connection: C, now: Instant) {
        if self.count < LIMIT {
            match self.by_target.entry(key) {
                Entry::Vacant(place) => {
                    place.insert(Idle { user, connections: vec![(now, connection)] });
                }
                Entry::Occupied(mut place) => {
                    place.get_mut().user = user;
                    place.get_mut().connections.push((now, connection));
                }
            }
            self.count += 1;
        }
    }

    /// Closes what is dead, too old, or leads where its last user does not want to go any more.
    pub fn sweep(&mut self, now: Instant, alive: impl Fn(&C) -> bool, wanted: impl Fn(&U, &TargetKey) -> bool) {
        self.by_target.retain(|key, Idle { user, connections }| {
            let wanted = wanted(user, key);
            connections.retain(|(since, it)| wanted && now.duration_since(*since) < MAX_IDLE && alive(it));
            !connections.is_empty()
        });
        self.count = self.by_target.values().map(|idle| idle.connections.len()).sum();
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::transport::Target;

    fn key(port: u16) -> TargetKey {
        Target { address: SocketAddr::from(([10, 0, 0, 1], port)), place: None, client: None, tls: None }.key()
    }

    #[test]
    fn the_connection_used_last_is_used_next() {
        let (mut pool, now) = (IdlePool::default(), Instant::now());
        ["first", "dead", "last"].into_iter().for_each(|it| pool.give(key(1), 'a', it, now));
        assert_eq!(pool.take(&key(1), |_| true), Some("last"));
        assert_eq!(pool.take(&key(1), |it| *it != "dead"), Some("first"));
        assert_eq!((pool.take(&key(1), |_| true), pool.take(&key(2), |_| true), pool.len()), (None, None, 0));
    }

    #[test]
    fn whoever_used_a_target_last_says_whether_it_is_wanted() {
        let (mut pool, now) = (IdlePool::default(), Instant::now());
        pool.give(key(1), 'a', "one", now);
        pool.give(key(2), 'a', "two", now);
        pool.give(key(2), 'b', "three", now);
        pool.sweep(now, |_| true, |user, _| *user == 'b');
        assert_eq!((pool.len(), pool.take(&key(1), |_| true)), (2, None));
        pool.sweep(now + MAX_IDLE, |_| true, |_, _| true);
        assert!(pool.is_empty(), "what was idle for too long goes, wanted or not");
    }
}
