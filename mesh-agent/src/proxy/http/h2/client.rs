//! The endpoint's side of HTTP/2: connections that many requests share.
//!
//! A connection is driven by a task of its own; requests hold a stream of it. It takes no new ones once the peer has said GOAWAY, or
//! while the peer allows no more streams; then another connection is opened.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::time::Instant;

use crate::model::cluster::Http2Options;
use crate::proxy::http::body::{Duplex, StreamError};
use crate::proxy::http::exchange::Upstream;
use crate::proxy::http::h2::Windows;
use crate::proxy::http::h2::connection::{Connection, Io, Over, Role};
use crate::proxy::http::h2::head::Limits;
use crate::proxy::http::h2::stream::{Receiving, Sending, Stream};
use crate::proxy::http::head::{BodySize, RequestHead, ResponseHead};
use crate::snapshot::ClusterSlot;
use crate::transport::{Stream as Socket, TargetKey};

/// What an endpoint's head may measure: Envoy's defaults.
const LIMITS: Limits = Limits { bytes: 80 * 1024, fields: 100 };

/// One thread's connections, by target.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    by_target: RefCell<HashMap<TargetKey, Rc<Group>>>,
}

/// The connections to one target.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Who went there last.
    user: Cell<Option<ClusterSlot>>,
    open: RefCell<Vec<Rc<Shared>>>,
    /// Held while one is being opened, so that a burst of requests opens one and not hundreds.
    pub(crate) opening: tokio::sync::Mutex<()>,
    /// When opening one failed last: whoever waited for it has failed too.
    pub(crate) failed: Cell<Option<Instant>>,
}

/// One connection.
#[derive(Debug)]
struct Shared {
    connection: Rc<Connection>,
    used: Cell<Instant>,
}

impl Connections {
    /// The connections to `key`, for an endpoint of `user`.
    pub(crate) fn group(&self, key: TargetKey, user: ClusterSlot) -> Rc<Group> {
        let group = Rc::clone(self.by_target.borrow_mut().entry(key).or_default());
        group.user.set(Some(user));
        group
    }

    /// Lets go of what nobody uses and `keep` does not want.
    pub(crate) fn sweep(&self, keep: impl Fn(&TargetKey, Option<ClusterSlot>, Instant) -> bool) {
        self.by_target.borrow_mut().retain(|key, group| {
            let mut open = group.open.borrow_mut();
            open.retain(|shared| {
                let kept = shared.connection.core().streams() > 0 || keep(key, group.user.get(), shared.used.get());
                if !kept {
                    shared.connection.core().leave_finally();
                }
                kept
            });
            !open.is_empty() || Rc::strong_count(group) > 1
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_target.borrow().is_empty()
    }
}

impl Group {
    /// A connection that takes another request now.
    pub(crate) fn take(&self) -> Option<ClientStream> {
        let open = self.open.borrow();
        open.iter().find(|shared| shared.connection.core().takes_requests()).map(ClientStream::new)
    }

    /// Makes a connection of `stream`, and takes it for a request.
    pub(crate) fn open(self: &Rc<Self>, stream: Socket, options: Http2Options) -> ClientStream {
        let connection = Rc::new(Connection::new(Role::Client, Windows::from(options), LIMITS));
        let mut io = Io::new(Rc::clone(&connection), stream, BytesMut::new());
        let shared = Rc::new(Shared { connection, used: Cell::new(Instant::now()) });
        self.open.borrow_mut().push(Rc::clone(&shared));
        let (group, this) = (Rc::downgrade(self), Rc::clone(&shared));
        // Ends when the peer closes, or when nobody wants it any more.
        tokio::task::spawn_local(async move {
            poll_fn(|cx| io.poll(cx)).await;
            if let Some(Over::Fault(fault)) = this.connection.core().over() {
                tracing::debug!(%fault, "HTTP/2 connection to an endpoint refused");
            }
            if let Some(group) = group.upgrade() {
                group.open.borrow_mut().retain(|other| !Rc::ptr_eq(other, &this));
            }
        });
        ClientStream::new(&shared)
    }
}

/// One request's stream, once its head is sent.
#[derive(Debug)]
pub(crate) struct ClientStream {
    shared: Rc<Shared>,
    stream: Option<Stream>,
    size: BodySize,
}

impl ClientStream {
    fn new(shared: &Rc<Shared>) -> Self {
        Self { shared: Rc::clone(shared), stream: None, size: BodySize::Unknown }
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        self.shared.used.set(Instant::now());
    }
}

impl Duplex for ClientStream {
    type Receive<'a> = Receiving<'a>;
    type Send<'a> = Sending<'a>;

    fn halves(&mut self) -> (Receiving<'_>, Sending<'_>) {
        self.stream.as_mut().expect("bodies follow the head of a request").halves()
    }
}

impl Upstream for ClientStream {
    fn start_request(&mut self, head: &mut RequestHead, size: BodySize, upgrade: bool) -> Result<(), StreamError> {
        if upgrade {
            // It would take extended CONNECT (RFC 8441).
            return Err(StreamError::Closed);
        }
        let over = size == BodySize::Empty;
        let connection = &self.shared.connection;
        let id = connection.core().open(head, over)?;
        let stream = self.stream.insert(Stream::new(Rc::clone(connection), id));
        stream.sent = over;
        Ok(())
    }

    fn poll_response(&mut self, cx: &mut Context<'_>, head: &mut ResponseHead) -> Poll<Result<(), StreamError>> {
        let Some(stream) = &self.stream else { return Poll::Ready(Err(StreamError::Closed)) };
        let (length, over) = ready!(stream.connection.core().poll_response(cx, stream.id, head))?;
        self.size = match length {
            _ if over => BodySize::Empty,
            Some(length) => BodySize::Known(length),
            None => BodySize::Unknown,
        };
        Poll::Ready(Ok(()))
    }

    fn response_size(&self) -> BodySize {
        self.size
    }
}
