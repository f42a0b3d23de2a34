//! The sockets of listeners that are bound to a port: opened before the listener goes live, so that one that cannot be is refused,
//! and closed when it has gone.
//!
//! Connections to a new listener wait in its socket until it is live. Those of one that goes may finish, for as long as those of an
//! agent that ends.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use crate::app::bind::{BindError, bind};
use crate::model::listener::Listener;
use crate::model::name::ListenerName;
use crate::proxy::{Command, DataThreads, Entry, EntryKey, ThreadError};
use crate::snapshot::{ListenerSet, Snapshot};

/// Of every listener that has some.
#[derive(Debug)]
pub(super) struct Sockets {
    workers: usize,
    drain: Duration,
    of: HashMap<ListenerName, Own>,
    /// The listeners that the sockets were settled for last. An update of endpoints leaves them as they are.
    settled: Option<ListenerSet>,
}

/// Of one listener.
#[derive(Debug, Default)]
struct Own {
    /// Where it accepts now.
    accepting: Option<SocketAddr>,
    /// Sockets that wait for it to be live at another address.
    waiting: Option<(SocketAddr, Vec<TcpListener>)>,
}

impl Sockets {
    pub(super) fn new(workers: usize, drain: Duration) -> Self {
        Self { workers, drain, of: HashMap::new(), settled: None }
    }

    /// Opens the sockets that a listener will need, if it has none yet.
    pub(super) fn reserve(&mut self, listener: &Listener) -> Result<(), BindError> {
        if !listener.bind {
            return Ok(());
        }
        self.settled = None;
        let own = self.of.get(&listener.name);
        let address = own.and_then(|own| own.waiting.as_ref().map(|(address, _)| *address).or(own.accepting));
        if address == Some(listener.address) {
            return Ok(());
        }
        let sockets = if own.is_some_and(|own| own.accepting == Some(listener.address)) {
            // Back to where it was, before it was live anywhere else.
            None
        } else {
            Some((listener.address, bind(listener, self.workers)?))
        };
        self.of.entry(listener.name.clone()).or_default().waiting = sockets;
        Ok(())
    }

    /// Closes what was reserved for a listener that will not go live.
    pub(super) fn release(&mut self, name: &ListenerName) {
        self.settled = None;
        if let Some(own) = self.of.get_mut(name) {
            own.waiting = None;
        }
    }

    /// Has the data threads accept for the listeners that are live, and for no others.
    pub(super) async fn settle(&mut self, snapshot: &Snapshot, threads: &DataThreads) -> Result<(), ThreadError> {
        let listeners = Some(snapshot.listener_set());
        if self.settled == listeners {
            return Ok(());
        }
        self.settled = listeners;
        for (name, own) in &mut self.of {
            let live = snapshot.listener(name).map(|live| &live.config).filter(|config| config.bind);
            let goes = own.accepting.is_some_and(|address| live.is_none_or(|config| config.address != address));
            if goes {
                own.accepting = None;
                tracing::info!(listener = %name, "no longer listening; open connections may finish");
                for index in 0..threads.count() {
                    threads.send(index, Command::Retire(EntryKey::Bound(name.clone()), self.drain)).await?;
                }
            }
            let Some(live) = live else { continue };
            let Some((address, sockets)) = own.waiting.take_if(|(address, _)| *address == live.address) else {
                continue;
            };
            own.accepting = Some(address);
            tracing::debug!(listener = %name, %address, "listening");
            for (index, socket) in sockets.into_iter().enumerate() {
                threads.send(index, Command::Listen(Entry::Bound(name.clone()), socket)).await?;
            }
        }
        self.of.retain(|_, own| own.accepting.is_some() || own.waiting.is_some());
        Ok(())
    }
}
