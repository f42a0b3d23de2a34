//! What the programs log, passed on to the agent's log. Off unless asked for.
//!
//! The records come through ring buffers, one per instance of the programs, and are emptied by a thread of their own: a
//! debugging aid must not lean on the runtime it may have to explain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use aya_log::EbpfLogger;

use crate::model::flow::PodId;

/// Reads one ring; what it reads goes to the `log` crate, which tracing's subscriber listens to.
pub(crate) type Logger = EbpfLogger<&'static dyn ::log::Log>;

/// Whose programs fill a ring; `None` are those that serve all pods.
type Owner = Option<PodId>;

enum Change {
    Added(Owner, Box<Logger>),
    Retired(PodId),
}

/// The thread that empties the rings. Ends when dropped.
#[derive(Debug)]
pub(crate) struct LogThread {
    changes: Sender<Change>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LogThread {
    pub(crate) fn start() -> std::io::Result<Self> {
        let (changes, made) = mpsc::channel();
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let thread = thread::Builder::new().name("kernel-log".to_owned()).spawn(move || empty(&made, &end))?;
        Ok(Self { changes, ended, thread: Some(thread) })
    }

    /// One more ring to empty.
    pub(crate) fn add(&self, owner: Owner, ring: Logger) {
        // The thread ends only when this value is dropped.
        let _ = self.changes.send(Change::Added(owner, Box::new(ring)));
    }

    /// That pod's program has ended: its ring is emptied once more, then freed.
    pub(crate) fn retire(&self, pod: PodId) {
        let _ = self.changes.send(Change::Retired(pod));
    }
}

impl Drop for LogThread {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn empty(changes: &Receiver<Change>, end: &AtomicBool) {
    let mut rings: Vec<(Owner, Logger)> = Vec::new();
    loop {
        // Looked at before the rings, so that what was logged last is still read.
        let last = end.load(Ordering::Relaxed);
        let mut retired = Vec::new();
        for change in changes.try_iter() {
            match change {
                Change::Added(owner, ring) => rings.push((owner, *ring)),
                Change::Retired(pod) => retired.push(pod),
            }
        }
        rings.iter_mut().for_each(|(_, ring)| ring.flush());
        rings.retain(|(owner, _)| owner.is_none_or(|pod| !retired.contains(&pod)));
        if last {
            return;
        }
        thread::sleep(PERIOD);
    }
}

const PERIOD: Duration = Duration::from_millis(50);
