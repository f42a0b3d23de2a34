//! The accepting end.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, ensure};

use crate::plan::{Plan, Random, Scale, Talk};
use crate::stream::{Idle, Patient, Text, prepare, read_head};

/// What the server saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Connections that were to arrive whole, and did.
    pub(crate) whole: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) errors: Mutex<Vec<String>>,
}

impl Seen {
    pub(crate) fn error(&self, error: String) {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).push(error);
    }
}

/// Serves until `end` is set, which the connection after that makes it notice; then until all connections have ended.
pub(crate) fn serve(listener: &TcpListener, scale: Scale, http: bool, text: &Text, seen: &Seen, end: &AtomicBool) {
    thread::scope(|scope| {
        loop {
            let stream = match listener.accept() {
                Ok(_) if end.load(Ordering::Relaxed) => return,
                Ok((stream, _)) => stream,
                Err(error) => return seen.error(format!("accept: {error}")),
            };
            scope.spawn(move || {
                let mut id = None;
                let served = if http {
                    serve_http(&stream, scale, text, seen)
                } else {
                    serve_bytes(&stream, scale, text, seen, &mut id)
                };
                if let Err(error) = served {
                    seen.error(format!("server, connection {id:?}: {error:#}"));
                }
            });
        }
    });
}

fn serve_bytes(stream: &TcpStream, scale: Scale, text: &Text, seen: &Seen, known: &mut Option<u64>) -> Result<()> {
    prepare(stream)?;
    let mut id = [0; 8];
    if let Err(error) = Patient(stream).read_exact(&mut id) {
        // Reset before it said who it is; or taken by somebody who gave up.
        ensure!(error.kind() == std::io::ErrorKind::ConnectionReset, "its number: {error}");
        return Ok(());
    }
    let id = u64::from_le_bytes(id);
    *known = Some(id);
    ensure!(id < scale.connections, "not a number of a connection");
    let plan = Plan::of(scale, id);
    let (mut up, mut down) = (text.cursor(id, 0), text.cursor(id, 1));
    let mut random = Random::new(id, 3);
    match plan.talk {
        Talk::Streams { up: all, down: back } => {
            let mut send_random = Random::new(id, 4);
            let (plan, writer) = (&plan, stream.try_clone()?);
            thread::scope(|scope| -> Result<()> {
                let sending = scope.spawn(move || -> Result<()> {
                    down.send(&writer, back, plan, &mut send_random).context("sends")?;
                    Ok(writer.shutdown(Shutdown::Write)?)
                });
                up.receive(stream, None, plan, &mut random)?;
                ensure!(up.done == all, "ended after {} of {all} bytes", up.done);
                sending.join().expect("no panic")
            })?;
        }
        Talk::Turns(ref turns) => {
            for &(there, back) in turns {
                ensure!(!up.receive(stream, Some(there), &plan, &mut random)?, "ended within a turn");
                down.send(stream, back, &plan, &mut random).context("answers")?;
            }
            ensure!(up.receive(stream, Some(1), &plan, &mut random)?, "more than all turns");
        }
        Talk::Leave { up: all } => {
            up.receive(stream, None, &plan, &mut random)?;
            ensure!(up.done == all, "ended after {} of {all} bytes", up.done);
        }
        Talk::Abort { up: all } => match up.receive(stream, None, &plan, &mut random) {
            Ok(_) => ensure!(up.done == all, "ended after {} of {all} bytes, as if that were all", up.done),
            Err(error) => ensure!(is_reset(&error), "{error:#}"),
        },
    }
    if plan.is_whole() {
        seen.whole.fetch_add(1, Ordering::Relaxed);
    }
    seen.bytes.fetch_add(up.done, Ordering::Relaxed);
    Ok(())
}

fn serve_http(stream: &TcpStream, scale: Scale, text: &Text, seen: &Seen) -> Result<()> {
    prepare(stream)?;
    loop {
        let (head, length) = match read_head(stream) {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(()),
            // The agent keeps connections for requests to come. Of a request that never came, its client tells.
            Err(error) if error.is::<Idle>() => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut path = head.split_whitespace().nth(1).unwrap_or_default().split('/').skip(1);
        let mut number = || -> Result<u64> { Ok(path.next().context("a number")?.parse()?) };
        let (id, turn) = (number()?, number()? as usize);
        let plan = Plan::of(scale, id);
        let mut random = Random::new(id, 3);
        let (there, back) = *plan.turns().get(turn).context("a turn")?;
        ensure!(there == length, "content-length {length}, {there} were sent");
        let (way_up, way_down) = (2 * turn as u64, 2 * turn as u64 + 1);
        let mut up = text.cursor(id, way_up);
        ensure!(!up.receive(stream, Some(there), &plan, &mut random)?, "ended within a body");
        (&*stream).write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {back}\r\n\r\n").as_bytes())?;
        text.cursor(id, way_down).send(stream, back, &plan, &mut random)?;
        seen.bytes.fetch_add(there, Ordering::Relaxed);
    }
}

pub(crate) fn is_reset(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|error| matches!(error.kind(), ConnectionReset | BrokenPipe))
}
