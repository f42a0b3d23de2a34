//! An HTTP server that tells what it got: HTTP/1.1 and HTTP/2 with prior knowledge on one port.
//!
//! | path | answer |
//! |---|---|
//! | `/mirror` | the request's body as it comes, then its trailers |
//! | `/stream?chunks=N&size=BYTES&pause=MS` | so many chunks, a pause before each |
//! | `/slow?ms=N` | as any other, after so long |
//! | `/hang` | none, ever |
//! | `/status?code=N` | that status, no body |
//! | `/trailers` | a body and two trailers, as gRPC ends a call |
//! | any, with `upgrade` | 101, then every byte back |
//! | any other | the request as JSON |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::channel::Channel;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::secure::Tls;
use crate::serve::Server;

/// The server. Dropping it closes its connections.
#[derive(Debug)]
pub struct HttpServer {
    server: Server,
    seen: Arc<Mutex<Vec<String>>>,
}

impl HttpServer {
    /// Starts one; `name` is in its answers, so that a test sees who answered.
    ///
    /// # Errors
    /// If the address is taken.
    pub fn start(address: SocketAddr, name: &str) -> anyhow::Result<Self> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let echo = Echo { name: Arc::from(name), seen: Arc::clone(&seen) };
        let server = Server::start(address, move |stream, client| echo.clone().serve(stream, client))?;
        Ok(Self { server, seen })
    }

    /// The same behind TLS, on a free port of IPv4's loopback address.
    ///
    /// # Errors
    /// If there is none.
    pub fn secure(name: &str, tls: &Tls) -> anyhow::Result<Self> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (echo, tls) = (Echo { name: Arc::from(name), seen: Arc::clone(&seen) }, tls.clone());
        let server = Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), move |stream, client| {
            let (echo, tls) = (echo.clone(), tls.clone());
            async move {
                if let Some(stream) = tls.accept(stream).await {
                    echo.serve(stream, client).await;
                }
            }
        })?;
        Ok(Self { server, seen })
    }

    /// Starts one on a free port of IPv4's loopback address.
    ///
    /// # Errors
    /// If there is none.
    pub fn local(name: &str) -> anyhow::Result<Self> {
        Self::start(SocketAddr::from(([127, 0, 0, 1], 0)), name)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Who connected, as `accept` told.
    #[must_use]
    pub fn clients(&self) -> Vec<SocketAddr> {
        self.server.clients()
    }

    /// `METHOD path` of every request it got.
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Clone)]
struct Echo {
    name: Arc<str>,
    seen: Arc<Mutex<Vec<String>>>,
}

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

impl Echo {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, client: SocketAddr) {
        let service = service_fn(move |request| self.clone().answer(client, request));
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().max_headers(1000);
        // A broken connection is the client's to report.
        let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
    }

    async fn answer(self, client: SocketAddr, request: Request<Incoming>) -> hyper::Result<Response<Body>> {
        let path = request.uri().path().to_owned();
        let line = format!("{} {path}", request.method());
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        if request.headers().contains_key(header::UPGRADE) {
            return Ok(upgrade(request));
        }
        let number = |name: &str, default: u64| query(request.uri().query(), name).unwrap_or(default);
        match path.as_str() {
            "/mirror" => {
                let mut response = Response::new(request.into_body().boxed_unsync());
                response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("x-end"));
                Ok(response)
            }
            "/stream" => Ok(stream(number("chunks", 10), number("size", 1024), number("pause", 0))),
            "/hang" => std::future::pending().await,
            "/status" => {
                let status = u16::try_from(number("code", 200)).ok().and_then(|code| StatusCode::from_u16(code).ok());
                let mut response = Response::new(empty());
                *response.status_mut() = status.unwrap_or(StatusCode::BAD_REQUEST);
                Ok(response)
            }
            "/trailers" => Ok(trailers(request).await?),
            _ => {
                tokio::time::sleep(Duration::from_millis(number("ms", 0))).await;
                self.describe(client, request).await
            }
        }
    }

    async fn describe(&self, client: SocketAddr, request: Request<Incoming>) -> hyper::Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?;
        let answer = json!({
            "server": &*self.name,
            "client": client.to_string(),
            "method": head.method.as_str(),
            "uri": head.uri.to_string(),
            "version": format!("{:?}", head.version),
            "headers": pairs(&head.headers),
            "trailers": body.trailers().map(pairs).unwrap_or_default(),
            "body": String::from_utf8_lossy(&body.to_bytes()),
        });
        let mut response = Response::new(full(answer.to_string()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(name) = HeaderValue::from_str(&self.name) {
            response.headers_mut().insert("x-served-by", name);
        }
        Ok(response)
    }
}

/// `101 Switching Protocols`, then an echo of bytes.
fn upgrade(mut request: Request<Incoming>) -> Response<Body> {
    let protocol = request.headers()[header::UPGRADE].clone();
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
            // The client sees where it ends.
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut write).await;
        }
    });
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(header::UPGRADE, protocol);
    response
}

fn stream(chunks: u64, size: u64, pause: u64) -> Response<Body> {
    let (mut sender, body) = Channel::<Bytes, hyper::Error>::new(1);
    let chunk = Bytes::from(vec![b'x'; usize::try_from(size).unwrap_or(0)]);
    tokio::spawn(async move {
        for _ in 0..chunks {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if sender.send_data(chunk.clone()).await.is_err() {
                return;
            }
        }
    });
    Response::new(body.boxed_unsync())
}

/// The request's body, then `grpc-status` and the body's length. Its length isn't told before: HTTP/1.1 has trailers only
/// after chunks.
async fn trailers(request: Request<Incoming>) -> hyper::Result<Response<Body>> {
    let body = request.into_body().collect().await?.to_bytes();
    let mut end = HeaderMap::new();
    end.insert("grpc-status", HeaderValue::from_static("0"));
    end.insert("x-length", HeaderValue::from(body.len()));
    let (mut sender, stream) = Channel::<Bytes, hyper::Error>::new(2);
    tokio::spawn(async move {
        // Fails when the client has gone.
        if sender.send_data(body).await.is_ok() {
            let _ = sender.send_trailers(end).await;
        }
    });
    let mut response = Response::new(stream.boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("grpc-status, x-length"));
    Ok(response)
}

fn empty() -> Body {
    Empty::new().map_err(never).boxed_unsync()
}

fn full(text: String) -> Body {
    Full::new(Bytes::from(text)).map_err(never).boxed_unsync()
}

fn never(never: Infallible) -> hyper::Error {
    match never {}
}

fn pairs(headers: &HeaderMap) -> Vec<[String; 2]> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| [name.to_string(), text(value)]).collect()
}

fn query(query: Option<&str>, name: &str) -> Option<u64> {
    let pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok())
}
