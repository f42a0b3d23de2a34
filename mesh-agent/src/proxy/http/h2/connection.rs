//! One HTTP/2 connection: what its task and the tasks of its streams share.
//!
//! The connection's task ([`io`]) reads frames ([`receive`], [`message`]) and writes what waits; streams take what came for them and put what they
//! send into the same output ([`send`]). All of it is one thread's, so it is one cell, borrowed for the length of a call. Nobody
//! waits inside: a stream leaves its waker and is woken when something concerns it.

mod io;
mod message;
mod receive;
mod send;
mod stream;

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use tokio::time::Instant;

use crate::proxy::http::h2::Windows;
use crate::proxy::http::h2::frame::Kind;
use crate::proxy::http::h2::guard::Guard;
use crate::proxy::http::h2::head::Limits;
use crate::proxy::http::h2::output::Output;
use crate::proxy::http::h2::reason::{Failure, Fault, Reason};
use crate::proxy::http::h2::settings::{self, Settings};
use crate::proxy::http::h2::{PREFACE, window};
use crate::proxy::http::head::{Heads, ResponseHead};
use crate::proxy::http::hpack::{Decoder, Encoder};
use crate::proxy::worker::Worker;

pub(super) use io::Io;
use stream::Streams;

/// Which end of the connection we are.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// The peer is a client; memory for its requests' heads is the worker's.
    Server(Rc<Worker>),
    Client,
}

/// A connection, as its streams know it.
#[derive(Debug)]
pub(super) struct Connection(RefCell<Core>);

impl Connection {
    /// A connection whose first frames wait to be written.
    pub(super) fn new(role: Role, windows: Windows, limits: Limits) -> Self {
        Self(RefCell::new(Core::new(role, windows, limits)))
    }

    pub(super) fn core(&self) -> RefMut<'_, Core> {
        self.0.borrow_mut()
    }
}

/// See [`Connection`].
#[derive(Debug)]
pub(super) struct Core {
    role: Role,
    windows: Windows,
    limits: Limits,
    output: Output,
    encoder: Encoder,
    decoder: Decoder,
    /// A header block of which more is to come.
    block: Option<Block>,
    streams: Streams,
    /// The newest stream, whichever side opens them.
    last: u32,
    peer: Settings,
    /// The peer's settings have come.
    settled: bool,
    receive: window::Receive,
    send: window::Send,
    /// Streams that wait for room to send, first come first served, and whose turn it is.
    waiting: VecDeque<u32>,
    turn: Option<u32>,
    guard: Guard,
    leaving: Leaving,
    /// The newest stream that the peer will still look at.
    peer_leaves: Option<u32>,
    over: Option<Over>,
    /// The connection's own task.
    task: Option<Waker>,
    now: Instant,
    /// Requests that nobody serves yet.
    requests: Vec<NewRequest>,
    /// Memory for response heads.
    spare: Vec<ResponseHead>,
}

/// How far our leave-taking has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    /// Said, but streams the peer has opened by then are still taken: its answer to a PING tells that it knows.
    Said,
    /// Only the streams there are go on.
    Final,
}

/// How the connection ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Over {
    /// In order, or the peer is gone.
    Closed,
    /// For what the peer did.
    Fault(Fault),
}

/// A request that came.
#[derive(Debug)]
pub(super) struct NewRequest {
    pub(super) stream: u32,
    pub(super) heads: Box<Heads>,
    /// Content that the head announces.
    pub(super) length: Option<u64>,
    /// There is none.
    pub(super) over: bool,
}

#[derive(Debug)]
struct Block {
    stream: u32,
    over: bool,
    bytes: Vec<u8>,
}

impl Core {
    fn new(role: Role, windows: Windows, limits: Limits) -> Self {
        let is_client = matches!(role, Role::Client);
        let mut output = Output::default();
        if is_client {
            output.raw(PREFACE);
        }
        output.frame(Kind::Settings, 0, 0, &settings::ours(windows, is_client));
        // A connection's window can only be made larger, and not by SETTINGS.
        let more = windows.connection.saturating_sub(window::DEFAULT);
        if more > 0 {
            output.frame(Kind::WindowUpdate, 0, 0, &more.to_be_bytes());
        }
        Self {
            role,
            windows,
            limits,
            output,
            encoder: Encoder::new(),
            decoder: Decoder::new(),
            block: None,
            streams: Streams::default(),
            last: 0,
            peer: Settings::assumed(windows.streams),
            settled: false,
            receive: window::Receive::new(windows.connection.max(window::DEFAULT)),
            send: window::Send::new(window::DEFAULT),
            waiting: VecDeque::new(),
            turn: None,
            guard: Guard::default(),
            leaving: Leaving::No,
            peer_leaves: None,
            over: None,
            task: None,
            now: Instant::now(),
            requests: Vec::new(),
            spare: Vec::new(),
        }
    }

    fn is_server(&self) -> bool {
        matches!(self.role, Role::Server(_))
    }

    /// Streams that somebody holds.
    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Whether the peer has said that it speaks HTTP/2.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    pub(super) fn over(&self) -> Option<Over> {
        self.over
    }

    /// Requests that came since this was asked last, but for those that were already given up.
    pub(super) fn take_requests(&mut self) -> Vec<NewRequest> {
        let mut requests = std::mem::take(&mut self.requests);
        requests.retain(|request| {
            let wanted = self.streams.get(&request.stream).is_some_and(|stream| stream.failure.is_none());
            if !wanted {
                self.release(request.stream, 0);
            }
            wanted
        });
        requests
    }

    /// Whether another request can be sent.
    pub(super) fn takes_requests(&self) -> bool {
        let leaves = self.over.is_some() || self.peer_leaves.is_some() || self.leaving != Leaving::No;
        !leaves && self.streams.len() < self.peer.streams as usize && self.last < (1 << 31) - 2
    }

    /// Takes leave of a client: what it has asked by the time it knows is still answered.
    pub(super) fn leave(&mut self) {
        if self.leaving == Leaving::No && self.over.is_none() {
            self.leaving = Leaving::Said;
            self.go_away(Reason::NO_ERROR, (1 << 31) - 1);
            self.output.frame(Kind::Ping, 0, 0, &LEAVING);
            self.wake();
        }
    }

    /// Takes leave at once: only the streams there are go on.
    pub(super) fn leave_finally(&mut self) {
        if self.leaving != Leaving::Final && self.over.is_none() {
            self.leaving = Leaving::Final;
            let last = if self.is_server() { self.last } else { 0 };
            self.go_away(Reason::NO_ERROR, last);
            self.wake();
        }
    }

    fn go_away(&mut self, reason: Reason, last: u32) {
        let payload = [last.to_be_bytes(), reason.0.to_be_bytes()].concat();
        self.output.frame(Kind::GoAway, 0, 0, &payload);
    }

    /// Ends all there is.
    fn end(&mut self, over: Over) {
        if self.over.is_some() {
            return;
        }
        let mut failure = Failure::Closed;
        if let Over::Fault(Fault::STRANGER) = over {
            self.output.discard();
        } else if let Over::Fault(fault) = over {
            let last = if self.is_server() { self.last } else { 0 };
            self.go_away(fault.reason, last);
            // Whoever asked an endpoint is told what it did. A client's own streams just end.
            if !self.is_server() {
                failure = Failure::Malformed(fault.what);
            }
        }
        self.over = Some(over);
        for stream in self.streams.values_mut() {
            stream.fail(failure);
        }
    }

    /// Has the connection's task run: there is something to write, or to end.
    fn wake(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}

/// Told by our PING that asks whether the peer has seen our leave-taking.
const LEAVING: [u8; 8] = *b"leaving\0";
