//! HTTP clients over hyper: for everything that is well-formed, on HTTP/1.1 and on HTTP/2 with prior knowledge.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// Body of a request.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A response on its way.
pub type Started = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

/// One connection.
#[derive(Debug)]
pub enum Client {
    /// HTTP/1.1.
    Http1(http1::SendRequest<Body>),
    /// HTTP/2 with prior knowledge.
    Http2(http2::SendRequest<Body>),
}

/// Version of HTTP for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// A response with all of its body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What came after the body.
    pub trailers: HeaderMap,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens or it isn't HTTP.
    pub async fn connect(address: SocketAddr, version: Version) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| address.to_string())?;
        stream.set_nodelay(true)?;
        Self::over(stream, version).await
    }

    /// Speaks on a connection that is there.
    ///
    /// # Errors
    /// If it isn't HTTP.
    pub async fn over(stream: TcpStream, version: Version) -> anyhow::Result<Self> {
        let io = TokioIo::new(stream);
        match version {
            Version::Http1 => {
                let (send, connection) = http1::handshake(io).await?;
                // Its errors are those of the requests on it.
                tokio::spawn(connection.with_upgrades());
                Ok(Self::Http1(send))
            }
            Version::Http2 => {
                let (send, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                tokio::spawn(connection);
                Ok(Self::Http2(send))
            }
        }
    }

    /// Sends a request and returns when the response's head has come. On HTTP/1.1 a missing `host` is filled in.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn send(&mut self, mut request: Request<Body>) -> anyhow::Result<Response<Incoming>> {
        if let Self::Http1(_) = self {
            let authority = request.uri().authority().map_or("test", |authority| authority.as_str()).to_owned();
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).parse()?;
            *request.uri_mut() = path;
            request.headers_mut().entry(http::header::HOST).or_insert(authority.parse()?);
        }
        Ok(self.start(request).await?.await?)
    }

    /// Sends a request and returns what will become its response, so that others can be sent meanwhile.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn start(&mut self, request: Request<Body>) -> anyhow::Result<Started> {
        match self {
            Self::Http1(send) => {
                send.ready().await?;
                Ok(Box::pin(send.send_request(request)))
            }
            Self::Http2(send) => {
                send.ready().await?;
                Ok(Box::pin(send.send_request(request)))
            }
        }
    }

    /// Sends a request and waits for all of the response.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn ask(&mut self, request: Request<Body>) -> anyhow::Result<Answer> {
        Answer::collect(self.send(request).await?).await
    }

    /// `GET uri`; the URI's authority becomes the host.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn get(&mut self, uri: &str) -> anyhow::Result<Answer> {
        self.ask(Request::get(uri).body(empty())?).await
    }
}

impl Answer {
    /// Waits for the rest of a response.
    ///
    /// # Errors
    /// If it ends too early.
    pub async fn collect(response: Response<Incoming>) -> anyhow::Result<Self> {
        let (head, body) = response.into_parts();
        let body = body.collect().await.context("body of the response")?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(Self { status: head.status, headers: head.headers, body: body.to_bytes(), trailers })
    }

    /// The body as JSON; `Null` if it isn't.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// First value of a header as text, empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// No body.
#[must_use]
pub fn empty() -> Body {
    Empty::new().boxed_unsync()
}

/// A body that is there as a whole.
#[must_use]
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// Runs asynchronous work to its end on the calling thread.
///
/// # Panics
/// If no runtime can be made: the descriptors are used up.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("descriptors for a runtime").block_on(work)
}
