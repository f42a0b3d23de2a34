//! Data threads: each an operating system thread with a current-thread runtime that owns its connections, pools and counters.
//!
//! Control reaches them by commands alone, over a bounded channel; what they need to know of the configuration they read from the
//! published snapshot.

use std::collections::HashMap;
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, LocalSet};
use tokio::time::Instant;

use crate::model::flow::Pod;
use crate::proxy::accept::{Entry, EntryKey, accept};
use crate::proxy::worker::{Tools, Worker};

/// What a data thread is told to do.
#[derive(Debug)]
pub enum Command {
    /// Accept connections on this socket (non-blocking, listening).
    Listen(Entry, StdTcpListener),
    /// Close the sockets of this entry, and every connection that came through them.
    Stop(EntryKey),
    /// Close the sockets of this entry; the connections that came through them may go on for so long.
    Retire(EntryKey, Duration),
    /// Reach this pod's addresses inside its namespace.
    AddPod(Arc<Pod>),
    /// No longer do so.
    RemovePod(Arc<Pod>),
}

/// Commands that may wait for a busy thread.
const QUEUE: usize = 256;

/// The running data threads.
#[derive(Debug)]
pub struct DataThreads {
    threads: Vec<(mpsc::Sender<Command>, JoinHandle<()>)>,
}

/// Why a data thread does not do what it is told.
#[derive(Debug, thiserror::Error)]
pub enum ThreadError {
    /// The operating system gave no thread.
    #[error("cannot start a data thread")]
    Spawn(#[source] io::Error),
    /// The thread has ended.
    #[error("data thread {0} has ended")]
    Ended(usize),
}

impl DataThreads {
    /// Starts a thread for each set of tools.
    ///
    /// # Errors
    /// [`ThreadError::Spawn`]; threads that were started end again.
    pub fn start(tools: Vec<Tools>) -> Result<Self, ThreadError> {
        Self::start_by(tools, |name, work| std::thread::Builder::new().name(name).spawn(work))
    }

    fn start_by(
        tools: Vec<Tools>,
        mut spawn: impl FnMut(String, Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>>,
    ) -> Result<Self, ThreadError> {
        let mut started = Self { threads: Vec::with_capacity(tools.len()) };
        for (index, tools) in tools.into_iter().enumerate() {
            let (sender, commands) = mpsc::channel(QUEUE);
            // Any odd number would do; different threads must not begin with the same endpoints.
            let seed = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(index as u64 + 1) ^ u64::from(std::process::id());
            match spawn(format!("data-{index}"), Box::new(move || run(tools, seed, commands))) {
                Ok(thread) => started.threads.push((sender, thread)),
                Err(error) => {
                    started.join();
                    return Err(ThreadError::Spawn(error));
                }
            }
        }
        Ok(started)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.threads.len()
    }

    /// Tells thread `index` to do something.
    ///
    /// # Errors
    /// [`ThreadError::Ended`].
    pub async fn send(&self, index: usize, command: Command) -> Result<(), ThreadError> {
        let (sender, _) = self.threads.get(index).ok_or(ThreadError::Ended(index))?;
        sender.send(command).await.map_err(|_| ThreadError::Ended(index))
    }

    /// Ends them, with what connections they have: once they were drained there are none. Waits for each, off the caller's runtime.
    pub fn join(self) {
        for (index, (sender, thread)) in self.threads.into_iter().enumerate() {
            drop(sender);
            if thread.join().is_err() {
                tracing::error!(thread = index, "data thread panicked");
            }
        }
    }
}

fn run(tools: Tools, seed: u64, commands: mpsc::Receiver<Command>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "data thread has no runtime"),
    };
    let ended = tools.drain.ended();
    let worker = Rc::new(Worker::new(tools, seed));
    LocalSet::new().block_on(&runtime, async {
        tokio::select! {
            () = obey(worker, commands) => {}
            () = ended => {}
        }
    });
}

/// Carries out commands until there can be no more: whoever gave them is gone.
async fn obey(worker: Rc<Worker>, mut commands: mpsc::Receiver<Command>) {
    let mut entries: HashMap<EntryKey, Vec<(AbortHandle, oneshot::Sender<Instant>)>> = HashMap::new();
    while let Some(command) = commands.recv().await {
        match command {
            Command::Listen(entry, listener) => match TcpListener::from_std(listener) {
                Ok(listener) => {
                    let key = entry.key();
                    let (retire, retired) = oneshot::channel();
                    let task = tokio::task::spawn_local(accept(Rc::clone(&worker), entry, listener, retired));
                    entries.entry(key).or_default().push((task.abort_handle(), retire));
                }
                Err(error) => tracing::error!(entry = ?entry.key(), %error, "cannot listen"),
            },
            Command::Stop(key) => {
                for (task, _) in entries.remove(&key).into_iter().flatten() {
                    task.abort();
                }
            }
            Command::Retire(key, time) => {
                for (_, retire) in entries.remove(&key).into_iter().flatten() {
                    // One that has ended has nothing left to retire from.
                    let _ = retire.send(Instant::now() + time);
                }
            }
            Command::AddPod(pod) => worker.add_local(&pod),
            Command::RemovePod(pod) => worker.remove_local(&pod),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::drain;
    use crate::snapshot::Publisher;
    use crate::telemetry::Telemetry;

    #[test]
    fn if_one_cannot_be_started_none_stays() {
        let (_trigger, watcher) = drain::pair();
        let telemetry = Telemetry::new(3);
        let tools = |index| Tools {
            snapshots: Publisher::default().reader(),
            steering: None,
            telemetry: telemetry.worker(index),
            drain: watcher.clone(),
            server_first: Arc::default(),
            asker: None,
        };
        let running = Arc::new(AtomicUsize::new(0));
        let spawn = |name: String, work: Box<dyn FnOnce() + Send>| {
            if name == "data-2" {
                assert_eq!(running.load(Ordering::SeqCst), 2);
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            running.fetch_add(1, Ordering::SeqCst);
            let running = Arc::clone(&running);
            std::thread::Builder::new().spawn(move || {
                work();
                running.fetch_sub(1, Ordering::SeqCst);
            })
        };
        let failed = DataThreads::start_by((0..3).map(tools).collect(), spawn);
        assert!(matches!(failed, Err(ThreadError::Spawn(_))));
        assert_eq!(running.load(Ordering::SeqCst), 0);
    }
}
