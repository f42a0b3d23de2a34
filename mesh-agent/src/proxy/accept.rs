//! The listener loop: one task per listening socket, which owns the tasks of the connections it accepted.
//!
//! Draining stops accepting and lets connections finish; taking a listener away (its pod is gone) takes its connections along.
//! What waits to be accepted when accepting stops is accepted: the kernel would reset it with the socket.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::model::flow::{Direction, Pod, PodId};
use crate::model::name::ListenerName;
use crate::proxy::connection::Origin;
use crate::proxy::worker::Worker;
use crate::proxy::{origin, serve};
use crate::snapshot::{LiveListener, Snapshot};

/// What a listening socket is for.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A listener of the configuration, bound in the agent's own namespace.
    Bound(ListenerName),
    /// Connections that the kernel programs steer in a pod.
    Pod(Arc<Pod>, Direction),
}

/// Names an entry, to take it away again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EntryKey {
    /// See [`Entry::Bound`].
    Bound(ListenerName),
    /// See [`Entry::Pod`]; both directions.
    Pod(PodId),
}

impl Entry {
    /// The key under which the entry is taken away.
    #[must_use]
    pub fn key(&self) -> EntryKey {
        match self {
            Self::Bound(name) => EntryKey::Bound(name.clone()),
            Self::Pod(pod, _) => EntryKey::Pod(pod.id),
        }
    }
}

/// How long accepting rests when it fails for want of resources: an error is then likely to come again at once.
const REST: Duration = Duration::from_millis(20);
/// How often that is worth a line of the log.
const TELL_AGAIN: Duration = Duration::from_secs(10);
/// Connections that are accepted after accepting has stopped: as many as may wait.
const MOST_WAITING: usize = 4096;

/// Accepts until draining starts or the listener is retired, then waits for what was accepted: until the time that `retired` tells.
pub(super) async fn accept(
    worker: Rc<Worker>,
    entry: Entry,
    listener: TcpListener,
    retired: oneshot::Receiver<Instant>,
) {
    let mut connections = JoinSet::new();
    // Until nothing more is accepted: a connection has no guard of its own before that.
    let accepting = worker.drain.active();
    let over: Pin<Box<dyn Future<Output = ()>>> = match &entry {
        Entry::Bound(_) => Box::pin(worker.drain.signaled()),
        // It is the kernel that sends them, which stops first.
        Entry::Pod(..) => Box::pin(worker.drain.closing()),
    };
    tokio::pin!(over);
    let retired = async {
        match retired.await {
            Ok(end) => end,
            // Whoever could have told is gone, and so is the thread, soon.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::pin!(retired);
    let mut told: Option<Instant> = None;
    let mut deadline = None;
    loop {
        tokio::select! {
            () = &mut over => break,
            end = &mut retired => {
                deadline = Some(end);
                break;
            }
            Some(ended) = connections.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => begin(&mut connections, &worker, &entry, stream, peer),
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    // Until descriptors are free, every attempt ends like this.
                    if told.is_none_or(|told| told.elapsed() >= TELL_AGAIN) {
                        told = Some(Instant::now());
                        tracing::warn!(entry = ?entry.key(), %error, "cannot accept connections; trying again");
                    }
                    tokio::time::sleep(REST).await;
                }
            },
        }
    }
    for (stream, peer) in waiting(listener) {
        begin(&mut connections, &worker, &entry, stream, peer);
    }
    drop(accepting);
    let rest = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    match deadline {
        // What is left then is cut off with the set of tasks.
        Some(deadline) => drop(tokio::time::timeout_at(deadline, rest).await),
        None => rest.await,
    }
}

fn begin(connections: &mut JoinSet<()>, worker: &Rc<Worker>, entry: &Entry, stream: TcpStream, peer: SocketAddr) {
    let active = worker.drain.active();
    let (worker, entry) = (Rc::clone(worker), entry.clone());
    connections.spawn_local(async move {
        let _active = active;
        connection(&worker, &entry, stream, peer).await;
    });
}

/// What has connected and was not accepted yet. The kernel is asked: the runtime hears of a connection a turn later.
fn waiting(listener: TcpListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    let listener = listener.into_std().ok();
    // At a bound listener more may come all the time.
    let accepted = std::iter::from_fn(move || listener.as_ref()?.accept().ok()).take(MOST_WAITING);
    accepted.filter_map(|(stream, peer)| {
        stream.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(stream).ok()?, peer))
    })
}

async fn connection(worker: &Rc<Worker>, entry: &Entry, stream: TcpStream, peer: SocketAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "client is gone already");
        return;
    }
    let snapshot = worker.snapshot();
    let Some((origin, listener)) = place(worker, entry, &snapshot, &stream, peer) else {
        tracing::debug!(entry = ?entry.key(), %peer, "connection of unknown origin closed");
        return;
    };
    serve::connection(worker, &snapshot, listener, origin, stream).await;
}

/// Where the connection comes from, and the listener that takes it; no listener where it passes through.
fn place<'a>(
    worker: &Worker,
    entry: &Entry,
    snapshot: &'a Snapshot,
    stream: &TcpStream,
    peer: SocketAddr,
) -> Option<(Origin, Option<&'a Arc<LiveListener>>)> {
    match entry {
        Entry::Bound(name) => {
            let own = snapshot.listener(name)?;
            let origin = origin::bound(stream, peer, &own.config)?;
            let redirected = own.config.catch_all && stream.local_addr().ok()? != origin.destination;
            let found = redirected.then(|| snapshot.listener_for(origin.direction, origin.destination)).flatten();
            Some((origin, found.or(Some(own))))
        }
        Entry::Pod(pod, direction) => {
            let origin = origin::steered(stream, peer, pod, *direction, worker.steering.as_deref()?)?;
            let listener = snapshot.listener_for(*direction, origin.destination);
            Some((origin, listener))
        }
    }
}

/// The client gave up between its SYN and our `accept`.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked; the connection is closed, others go on");
    }
}

#[cfg(test)]
mod tests;
