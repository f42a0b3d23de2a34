//! Connections past the agent whose endpoint is gone: nobody would tell their apps, so they are told here.
//!
//! The agent closes what it carries itself. A connection that the kernel sent to an endpoint is the app's own socket, and while its
//! packets lead nowhere the app may wait for minutes. So TCP is reset, and connected UDP is connected to another endpoint; what
//! is unconnected chooses anew by itself. The kernel's own way (`INET_DIAG_DESTROY`) is not compiled into every kernel. This
//! one works on all: `/proc` says which sockets of a namespace talk to the endpoint and which process has them, `pidfd_getfd`
//! (Linux 5.6, `CAP_SYS_PTRACE`) borrows the socket, and what lies with it says whether a service led it there.
//!
//! On a thread of its own, since `/proc` takes as long as there are processes and sockets: one look for all that went since the last
//! ([`queue`]). Only processes in the namespace of a workload are looked at. What no such process has is counted: it may be a socket on its way between two.

mod act;
mod find;
mod queue;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::kernel::counters::Count;
use crate::kernel::direct::DirectSockets;
use crate::model::flow::Pod;
use crate::model::service::{Lost, Services};
use crate::pod::netns::Netns;
use queue::{Job, Over, Queue};

/// Tells apps of endpoints that are gone. Ends when dropped.
pub(crate) struct Evictor {
    queue: Arc<Queue>,
    now: Arc<Mutex<Services>>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    reset: AtomicU64,
    moved: AtomicU64,
    missed: AtomicU64,
}

/// Whose connections are looked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    /// The workloads.
    pub(crate) pods: Vec<Arc<Pod>>,
    /// And where they live, each namespace once.
    pub(crate) namespaces: Vec<Arc<Netns>>,
}

impl Evictor {
    pub(crate) fn start(sockets: DirectSockets) -> io::Result<Self> {
        let queue = Arc::<Queue>::default();
        let counts = Arc::<Counts>::default();
        let now = Arc::<Mutex<Services>>::default();
        let (jobs, counted, current) = (Arc::clone(&queue), Arc::clone(&counts), Arc::clone(&now));
        let work = move || {
            // Ends with whoever adds to the queue.
            let Err(Over) = work(&jobs, &sockets, &current, &counted);
        };
        let thread = thread::Builder::new().name("evictions".to_owned()).spawn(work)?;
        Ok(Self { queue, now, counts, thread: Some(thread) })
    }

    /// The kernel serves `next` instead of `before`, these workloads.
    pub(crate) fn changed(&self, before: &Services, next: &Services, scope: impl FnOnce() -> Scope) {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone_from(next);
        self.look_for(before.lost(next), scope);
    }

    /// The same where only these services are others than before.
    pub(crate) fn some_changed(&self, before: &Services, after: &Services, scope: impl FnOnce() -> Scope) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.0.extend(after.0.iter().map(|(key, service)| (*key, Arc::clone(service))));
        drop(now);
        self.look_for(before.lost(after), scope);
    }

    fn look_for(&self, lost: Lost, scope: impl FnOnce() -> Scope) {
        if lost.0.is_empty() {
            return;
        }
        let refused = self.queue.add(Job { lost, scope: scope() });
        if refused > 0 {
            self.counts.missed.fetch_add(refused as u64, Ordering::Relaxed);
            warn!(endpoints = refused, "endpoints go faster than their connections can be looked for; some stay");
        }
    }

    /// Reads what was done so far. For another thread to keep.
    pub(crate) fn counts(&self) -> impl Fn() -> [Count; 3] + Send + Sync + 'static {
        let counts = Arc::clone(&self.counts);
        move || {
            let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
            [
                (
                    "evicted_tcp",
                    "TCP connections past the agent reset because their endpoint is gone",
                    read(&counts.reset),
                ),
                ("evicted_udp", "Connected UDP sockets moved because their endpoint is gone", read(&counts.moved)),
                ("evictions_missed", "Sockets or endpoints that could not be looked after", read(&counts.missed)),
            ]
        }
    }
}

impl Drop for Evictor {
    fn drop(&mut self) {
        self.queue.end();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("the thread that tells apps of endpoints that are gone has failed");
        }
    }
}

/// Every job is done at once, and once more when all is sure to be over that began before: a program in the kernel may just have
/// chosen the endpoint.
fn work(queue: &Queue, sockets: &DirectSockets, now: &Mutex<Services>, counts: &Counts) -> Result<Infallible, Over> {
    let mut again: VecDeque<(Instant, Job)> = VecDeque::new();
    loop {
        queue.wait(again.front().map(|(at, _)| *at))?;
        let (start, first) = (Instant::now(), queue.take());
        let mut job = first.clone();
        while let Some((_, second)) = again.pop_front_if(|(at, _)| *at <= start) {
            job = second.and(job);
        }
        run(&job, sockets, now, counts);
        if !first.is_empty() {
            again.push_back((start + SETTLE, first));
        }
        // More goes meanwhile: the next look is for all of that.
        queue.pause(Instant::now() + (start.elapsed() * RESTS).clamp(LEAST_PAUSE, SETTLE))?;
    }
}

fn run(job: &Job, sockets: &DirectSockets, now: &Mutex<Services>, counts: &Counts) {
    // What came back meanwhile is not lost, and what is left may be more or less than it was.
    let lost = job.lost.as_of(&now.lock().unwrap_or_else(PoisonError::into_inner));
    let mut wanted = find::sockets(&job.scope.namespaces, &lost);
    if wanted.is_empty() {
        return;
    }
    let found = wanted.len();
    find::held(&job.scope.namespaces, &mut wanted, |socket, endpoint| {
        match act::evict(socket.as_fd(), endpoint, &lost, &job.scope.pods, sockets) {
            Ok(act::Done::Reset) => drop(counts.reset.fetch_add(1, Ordering::Relaxed)),
            Ok(act::Done::Moved) => drop(counts.moved.fetch_add(1, Ordering::Relaxed)),
            Ok(act::Done::NotOurs) => {}
            Err(error) => {
                counts.missed.fetch_add(1, Ordering::Relaxed);
                warn!(endpoint = %endpoint.1, %error, "an endpoint is gone, and one of its connections cannot be told");
            }
        }
    });
    if !wanted.is_empty() {
        counts.missed.fetch_add(wanted.len() as u64, Ordering::Relaxed);
        warn!(
            sockets = wanted.len(),
            "sockets that talk to endpoints that are gone cannot be borrowed; is CAP_SYS_PTRACE there?"
        );
    }
    debug!(
        found,
        missed = wanted.len(),
        endpoints = job.lost.0.len(),
        "looked for connections of endpoints that are gone"
    );
}

/// When a job is done for the second time.
const SETTLE: Duration = Duration::from_secs(1);
/// How much longer the pause after a look is than the look: a twentieth of a CPU is the most that changes without end can cost here.
const RESTS: u32 = 20;
const LEAST_PAUSE: Duration = Duration::from_millis(100);
