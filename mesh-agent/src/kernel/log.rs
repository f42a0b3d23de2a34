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

/// Reads one ring; what it reads goes to the `log` crate, which tracing's subscriber listens to.
pub(crate) type Logger = EbpfLogger<&'static dyn ::log::Log>;

/// The thread that empties the rings. Ends when dropped.
#[derive(Debug)]
pub(crate) struct LogThread {
    rings: Sender<Logger>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LogThread {
    pub(crate) fn start() -> std::io::Result<Self> {
        let (rings, added) = mpsc::channel();
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let thread = thread::Builder::new().name("kernel-log".to_owned()).spawn(move || empty(&added, &end))?;
        Ok(Self { rings, ended, thread: Some(thread) })
    }

    /// One more ring to empty.
    pub(crate) fn add(&self, ring: Logger) {
        // The thread ends only when this value is dropped.
        let _ = self.rings.send(ring);
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

fn empty(added: &Receiver<Logger>, end: &AtomicBool) {
    let mut rings = Vec::new();
    loop {
        // Looked at before the rings, so that what was logged last is still read.
        let last = end.load(Ordering::Relaxed);
        rings.extend(added.try_iter());
        rings.iter_mut().for_each(Logger::flush);
        if last {
            return;
        }
        thread::sleep(PERIOD);
    }
}

const PERIOD: Duration = Duration::from_millis(50);
