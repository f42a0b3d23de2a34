//! A management server that does what a test says: each stream is a pair of queues, bytes or messages, in any order, good or bad.
//!
//! It stands on the `h2` crate and on messages of its own, so it shares no code with the agent's client. [`plane::Plane`] is the
//! same server with manners: it holds resources and follows the protocol.

pub mod encode;
pub mod message;
pub mod plane;

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request as HttpRequest, Response as HttpResponse};
use prost::Message;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_rustls::TlsAcceptor;

use crate::serve::Server;

/// The server. Dropping it ends every connection.
#[derive(Debug)]
pub struct Ads {
    server: Server,
    streams: Mutex<Receiver<Stream>>,
}

/// One stream of a client.
#[derive(Debug)]
pub struct Stream {
    /// The method's path.
    pub method: String,
    /// The metadata of the call.
    pub metadata: HeaderMap,
    requests: Receiver<Bytes>,
    orders: UnboundedSender<Order>,
}

/// What a stream is to do next.
#[derive(Debug)]
enum Order {
    Message(Bytes),
    Raw(Bytes),
    Status(u16, String),
    Reset,
}

impl Ads {
    /// Listens on `address` (port 0: any).
    ///
    /// # Errors
    /// If the address is taken.
    pub fn start(address: SocketAddr) -> anyhow::Result<Self> {
        let (sender, streams) = channel();
        let server = Server::start(address, move |socket, _| serve(socket, sender.clone()))?;
        Ok(Self { server, streams: Mutex::new(streams) })
    }

    /// The same, with TLS.
    ///
    /// # Errors
    /// If the address is taken.
    pub fn start_secure(address: SocketAddr, tls: ServerConfig) -> anyhow::Result<Self> {
        let (sender, streams) = channel();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let server = Server::start(address, move |socket, _| {
            let (accepted, sender) = (acceptor.accept(socket), sender.clone());
            async move {
                // A client that breaks off says so itself.
                if let Ok(socket) = accepted.await {
                    serve(socket, sender).await;
                }
            }
        })?;
        Ok(Self { server, streams: Mutex::new(streams) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Waits for the next stream.
    ///
    /// # Errors
    /// If none is opened in time.
    pub fn stream(&self, within: Duration) -> anyhow::Result<Stream> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.recv_timeout(within).context("no stream was opened")
    }
}

impl Stream {
    /// Whether it speaks delta.
    #[must_use]
    pub fn is_delta(&self) -> bool {
        self.method.ends_with("/DeltaAggregatedResources")
    }

    /// The next request, if one comes in time.
    ///
    /// # Errors
    /// If the client ended the stream, or sent garbage.
    pub fn poll<M: Message + Default>(&self, within: Duration) -> anyhow::Result<Option<M>> {
        match self.requests.recv_timeout(within) {
            Ok(bytes) => Ok(Some(M::decode(bytes)?)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the client ended the stream"),
        }
    }

    /// The next request.
    ///
    /// # Errors
    /// If none comes within 10 s.
    pub fn request<M: Message + Default>(&self) -> anyhow::Result<M> {
        self.poll(Duration::from_secs(10))?.context("no request came")
    }

    /// Sends a message.
    pub fn send(&self, message: &impl Message) {
        self.order(Order::Message(message.encode_to_vec().into()));
    }

    /// Sends bytes as a message, whatever they are.
    pub fn send_bytes(&self, bytes: impl Into<Bytes>) {
        self.order(Order::Message(bytes.into()));
    }

    /// Sends bytes that are not even a message of gRPC.
    pub fn send_raw(&self, bytes: impl Into<Bytes>) {
        self.order(Order::Raw(bytes.into()));
    }

    /// Ends the stream with a status.
    pub fn end(&self, status: u16, message: &str) {
        self.order(Order::Status(status, message.to_owned()));
    }

    /// Breaks the stream.
    pub fn reset(&self) {
        self.order(Order::Reset);
    }

    /// Waits until the client has ended the stream, skipping what it still says.
    ///
    /// # Errors
    /// If it has not in time.
    pub fn wait_for_end(&self, within: Duration) -> anyhow::Result<()> {
        let deadline = std::time::Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            match self.requests.recv_timeout(left) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => bail!("the client did not end the stream"),
            }
        }
    }

    fn order(&self, order: Order) {
        // A stream that is over takes none: the test finds out by what the client says next.
        let _ = self.orders.send(order);
    }
}

async fn serve(socket: impl AsyncRead + AsyncWrite + Unpin, streams: Sender<Stream>) {
    let mut builder = server::Builder::new();
    builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 20);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (sender, requests) = channel();
        let (orders, queue) = unbounded_channel();
        let (parts, body) = request.into_parts();
        let (method, metadata) = (parts.uri.path().to_owned(), parts.headers.clone());
        if streams.send(Stream { method, metadata, requests, orders }).is_err() {
            return;
        }
        let request = HttpRequest::from_parts(parts, ());
        tokio::spawn(async move {
            tokio::select! {
                _ = receive(body, sender) => {}
                _ = obey(&request, respond, queue) => {}
            }
        });
    }
}

/// Takes the client's messages apart: a flag and a length before each.
async fn receive(mut body: RecvStream, sender: Sender<Bytes>) -> anyhow::Result<()> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        bytes.extend_from_slice(&chunk);
        while bytes.len() >= 5 {
            let length = usize::try_from(u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]))?;
            ensure!(bytes[0] == 0, "a compressed message");
            if bytes.len() < 5 + length {
                break;
            }
            bytes.advance(5);
            sender.send(bytes.split_to(length).freeze())?;
        }
    }
    Ok(())
}

/// Does as ordered. The head of the answer goes with the first message, as with servers that have nothing to say before.
async fn obey(
    _request: &HttpRequest<()>,
    mut respond: SendResponse<Bytes>,
    mut orders: UnboundedReceiver<Order>,
) -> anyhow::Result<()> {
    let mut body: Option<SendStream<Bytes>> = None;
    while let Some(order) = orders.recv().await {
        if matches!(order, Order::Reset) {
            match body {
                Some(mut body) => body.send_reset(Reason::INTERNAL_ERROR),
                None => respond.send_reset(Reason::INTERNAL_ERROR),
            }
            return Ok(());
        }
        let mut stream = match body.take() {
            Some(stream) => stream,
            None => {
                let head = HttpResponse::builder().header("content-type", "application/grpc").body(())?;
                respond.send_response(head, false)?
            }
        };
        match order {
            Order::Message(bytes) => send(&mut stream, framed(&bytes)?).await?,
            Order::Raw(bytes) => send(&mut stream, bytes).await?,
            Order::Status(status, message) => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from(status));
                trailers.insert("grpc-message", HeaderValue::from_str(&message)?);
                stream.send_trailers(trailers)?;
                return Ok(());
            }
            Order::Reset => {}
        }
        body = Some(stream);
    }
    // The test dropped the stream: it is left hanging, as a server that has stopped would.
    std::future::pending().await
}

fn framed(bytes: &[u8]) -> anyhow::Result<Bytes> {
    let mut message = BytesMut::with_capacity(5 + bytes.len());
    message.put_u8(0);
    message.put_u32(bytes.len().try_into()?);
    message.put_slice(bytes);
    Ok(message.freeze())
}

async fn send(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> anyhow::Result<()> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await.context("no stream")??;
        stream.send_data(bytes.split_to(room.min(bytes.len())), false)?;
    }
    Ok(())
}
