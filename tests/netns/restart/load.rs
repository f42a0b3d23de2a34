//! Requests on connections of their own, one after the other, each with its time and its end.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use harness::wire::Wire;
use harness::world::Pod;

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Answered,
    /// By `connect`, with `EPERM`.
    Denied,
    Broken(String),
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) end: End,
}

/// What was tried so far.
#[derive(Debug, Default)]
pub(super) struct Load {
    stop: AtomicBool,
    attempts: Mutex<Vec<Attempt>>,
}

impl Load {
    /// Begins, with so many clients at once.
    pub(super) fn run<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        pod: &'s Pod,
        address: SocketAddr,
        clients: usize,
    ) -> Vec<ScopedJoinHandle<'s, ()>> {
        let client = || {
            scope.spawn(move || {
                pod.enter(|| {
                    while !self.stop.load(Ordering::Relaxed) {
                        let attempt = attempt(address);
                        self.lock().push(attempt);
                        thread::sleep(Duration::from_millis(1));
                    }
                });
            })
        };
        (0..clients).map(|_| client()).collect()
    }

    /// Ends it.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// All that has been tried.
    pub(super) fn attempts(&self) -> Vec<Attempt> {
        self.lock().clone()
    }

    /// How many of those that began after `since` ended like this.
    pub(super) fn count(&self, since: Instant, end: &End) -> usize {
        self.lock().iter().filter(|attempt| attempt.began >= since && attempt.end == *end).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Attempt>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request, from inside a pod.
pub(super) fn attempt(address: SocketAddr) -> Attempt {
    let began = Instant::now();
    let end = match Wire::connect(address) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => End::Denied,
        Err(error) => End::Broken(format!("connect: {error}")),
        Ok(wire) => ask(wire).map_or_else(|error| End::Broken(format!("{error:#}")), |()| End::Answered),
    };
    Attempt { began, ended: Instant::now(), end }
}

fn ask(mut wire: Wire) -> anyhow::Result<()> {
    wire.send("GET / HTTP/1.1\r\nhost: service\r\nconnection: close\r\n\r\n")?;
    let status = wire.response()?.status;
    if status == 200 { Ok(()) } else { Err(io::Error::other(format!("status {status}")).into()) }
}
