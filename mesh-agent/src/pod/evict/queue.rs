//! What went since the last look, as one.
//!
//! A look reads the kernel's tables of sockets, which takes milliseconds however little went. With a look for each change, hundreds of
//! changes a second would do nothing else. So what goes meanwhile is gathered, and there is a pause after each look.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::service::Lost;
use crate::pod::evict::Scope;

/// Look for these, there.
#[derive(Clone, Debug, Default)]
pub(super) struct Job {
    pub(super) lost: Lost,
    pub(super) scope: Scope,
}

/// Between whoever changes services and the thread that looks.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    job: Job,
    is_over: bool,
}

/// There will be no more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Over;

impl Job {
    pub(super) fn is_empty(&self) -> bool {
        self.lost.0.is_empty()
    }

    /// Both. Workloads are those of `next`, if that has anything to look for.
    pub(super) fn and(mut self, next: Self) -> Self {
        if !next.is_empty() {
            self.lost.add(next.lost);
            self.scope = next.scope;
        }
        self
    }
}

impl Queue {
    /// Adds what went just now; answers how many endpoints found no room.
    pub(super) fn add(&self, job: Job) -> usize {
        let mut state = self.lock();
        let room = MOST.saturating_sub(state.job.lost.0.len());
        let (new, refused) = if job.lost.0.len() <= room { (job, 0) } else { split(job, room) };
        state.job = std::mem::take(&mut state.job).and(new);
        self.changed.notify_all();
        refused
    }

    /// There will be no more.
    pub(super) fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_all();
    }

    /// Waits until there is something, or until that time.
    pub(super) fn wait(&self, until: Option<Instant>) -> Result<(), Over> {
        self.wait_for(until, |state| !state.job.is_empty())
    }

    /// Waits so long, whatever comes.
    pub(super) fn pause(&self, until: Instant) -> Result<(), Over> {
        self.wait_for(Some(until), |_| false)
    }

    /// All that there is.
    pub(super) fn take(&self) -> Job {
        std::mem::take(&mut self.lock().job)
    }

    fn wait_for(&self, until: Option<Instant>, is_enough: impl Fn(&State) -> bool) -> Result<(), Over> {
        let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
        let waits = |state: &mut State| !state.is_over && !is_enough(state);
        let (state, _) =
            self.changed.wait_timeout_while(self.lock(), left, waits).unwrap_or_else(PoisonError::into_inner);
        if state.is_over { Err(Over) } else { Ok(()) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As much of it as there is room for, and how much is left out.
fn split(mut job: Job, room: usize) -> (Job, usize) {
    let refused = job.lost.0.len() - room;
    while job.lost.0.len() > room {
        job.lost.0.pop_last();
    }
    (job, refused)
}

/// Endpoints that may wait: two changes of every service that the kernel can hold.
const MOST: usize = 32_768;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::model::service::{Left, Protocol};

    fn lost(endpoints: std::ops::Range<u32>, service: u8) -> Job {
        let left = || BTreeMap::from([(SocketAddr::from(([10, 96, 0, service], 80)), Left::default())]);
        let endpoint = |n| ((Protocol::Tcp, SocketAddr::from((Ipv4Addr::from(n), 1))), left());
        Job { lost: Lost(endpoints.map(endpoint).collect()), scope: Scope::default() }
    }

    #[test]
    fn what_goes_meanwhile_is_one_job() {
        let queue = Queue::default();
        assert_eq!(queue.add(lost(0..3, 1)) + queue.add(lost(2..5, 2)), 0);
        assert_eq!(queue.wait(None), Ok(()));
        let job = queue.take();
        let services: Vec<_> = job.lost.0.values().map(BTreeMap::len).collect();
        assert_eq!(services, [1, 1, 2, 1, 1], "an endpoint that two services lost is looked for once");
        assert!(queue.take().is_empty());
        assert_eq!(queue.wait(Some(Instant::now())), Ok(()), "the time has come");
    }

    #[test]
    fn there_is_an_end_to_the_room_and_to_the_wait() {
        let queue = Queue::default();
        let most = u32::try_from(MOST).unwrap();
        assert_eq!((queue.add(lost(0..most, 1)), queue.add(lost(most..most + 7, 1))), (0, 7));
        assert_eq!(queue.take().lost.0.len(), MOST);
        queue.end();
        assert_eq!((queue.wait(None), queue.pause(Instant::now() + Duration::from_secs(60))), (Err(Over), Err(Over)));
    }
}
