//! The endpoint's side of HTTP/2: connections that many requests share.
//!
//! A connection is driven by a task of its own; requests hold a handle to it. It takes no new ones once the peer has said GOAWAY, or
//! while the peer allows no more streams; then another connection is opened.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::model::cluster::Http2Options;
use crate::proxy::http::body::{Duplex, StreamError};
use crate::proxy::http::exchange::Upstream;
use crate::proxy::http::h2::stream::{Incoming, Outgoing, Receiving, Sending};
use crate::proxy::http::h2::{SEND_BUFFER, Windows, convert};
use crate::proxy::http::head::{BodySize, RequestHead, ResponseHead};
use crate::transport::TargetKey;

/// One thread's connections, by target.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    by_target: RefCell<HashMap<TargetKey, Rc<Group>>>,
}

/// The connections to one target.
#[derive(Debug, Default)]
pub(crate) struct Group {
    open: RefCell<Vec<Rc<Connection>>>,
    /// Held while one is being opened, so that a burst of requests opens one and not hundreds.
    pub(crate) opening: tokio::sync::Mutex<()>,
    /// When opening one failed last: whoever waited for it has failed too.
    pub(crate) failed: Cell<Option<Instant>>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    requests: SendRequest<Bytes>,
    streams: Cell<usize>,
    used: Cell<Instant>,
}

impl Connections {
    /// The connections to `key`.
    pub(crate) fn group(&self, key: TargetKey) -> Rc<Group> {
        Rc::clone(self.by_target.borrow_mut().entry(key).or_default())
    }

    /// Lets go of what nobody uses and `keep` does not want; a connection without handles closes itself.
    pub(crate) fn sweep(&self, keep: impl Fn(&TargetKey, Instant) -> bool) {
        self.by_target.borrow_mut().retain(|key, group| {
            let mut open = group.open.borrow_mut();
            open.retain(|connection| connection.streams.get() > 0 || keep(key, connection.used.get()));
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
        let mut open = self.open.borrow_mut();
        // Polled with no task behind: only whether it is ready or broken is asked.
        let mut cx = Context::from_waker(std::task::Waker::noop());
        open.retain(|connection| {
            let mut requests = connection.requests.clone();
            !matches!(requests.poll_ready(&mut cx), Poll::Ready(Err(_)))
        });
        open.iter()
            .find(|connection| connection.streams.get() < connection.requests.current_max_send_streams())
            .map(ClientStream::new)
    }

    /// Makes a connection of `stream`, and takes it for a request.
    pub(crate) async fn open(
        self: &Rc<Self>,
        stream: TcpStream,
        options: Http2Options,
    ) -> Result<ClientStream, StreamError> {
        let windows = Windows::from(options);
        let (requests, connection) = h2::client::Builder::new()
            .initial_window_size(windows.stream)
            .initial_connection_window_size(windows.connection)
            .max_concurrent_streams(windows.streams)
            .initial_max_send_streams(windows.streams as usize)
            .max_send_buffer_size(SEND_BUFFER)
            .enable_push(false)
            .handshake(stream)
            .await?;
        let shared = Rc::new(Connection { requests, streams: Cell::new(0), used: Cell::new(Instant::now()) });
        self.open.borrow_mut().push(Rc::clone(&shared));
        let (group, this) = (Rc::downgrade(self), Rc::downgrade(&shared));
        // Ends when the peer closes, or when nobody holds a handle any more.
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "HTTP/2 connection to an endpoint ended");
            }
            if let Some(group) = group.upgrade() {
                group.open.borrow_mut().retain(|other| !std::ptr::eq(Rc::as_ptr(other), this.as_ptr()));
            }
        });
        Ok(ClientStream::new(&shared))
    }
}

/// One request's stream.
#[derive(Debug)]
pub(crate) struct ClientStream {
    connection: Rc<Connection>,
    response: Option<ResponseFuture>,
    incoming: Incoming,
    outgoing: Outgoing,
    size: BodySize,
    is_head: bool,
}

impl ClientStream {
    fn new(connection: &Rc<Connection>) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        Self {
            connection: Rc::clone(connection),
            response: None,
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            size: BodySize::Unknown,
            is_head: false,
        }
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        self.connection.streams.set(self.connection.streams.get() - 1);
        self.connection.used.set(Instant::now());
    }
}

impl Duplex for ClientStream {
    type Receive<'a> = Receiving<'a>;
    type Send<'a> = Sending<'a>;

    fn halves(&mut self) -> (Receiving<'_>, Sending<'_>) {
        (Receiving(&mut self.incoming), Sending(&mut self.outgoing))
    }
}

impl Upstream for ClientStream {
    fn start_request(&mut self, head: &mut RequestHead, size: BodySize, _: bool) -> Result<(), StreamError> {
        self.is_head = head.method == http::Method::HEAD;
        let over = size == BodySize::Empty;
        let request = convert::to_request(head)?;
        let (response, stream) = self.connection.requests.clone().send_request(request, over)?;
        self.response = Some(response);
        self.outgoing = Outgoing { stream: Some(stream), over };
        Ok(())
    }

    fn poll_response(&mut self, cx: &mut Context<'_>, head: &mut ResponseHead) -> Poll<Result<(), StreamError>> {
        let Some(response) = &mut self.response else { return Poll::Ready(Err(StreamError::Closed)) };
        let (parts, body) = ready!(Pin::new(response).poll(cx))?.into_parts();
        if parts.status == http::StatusCode::SWITCHING_PROTOCOLS {
            return Poll::Ready(Err(StreamError::Malformed("101 on HTTP/2")));
        }
        convert::from_response(&parts, head);
        self.incoming = Incoming::new(body);
        self.size = if self.is_head { BodySize::Empty } else { self.incoming.size(&head.fields) };
        Poll::Ready(Ok(()))
    }

    fn response_size(&self) -> BodySize {
        self.size
    }
}
