//! The other end of the admin socket: asking the running agent.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime;
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_secs(10);
/// Far more than 65,536 connections per data thread take.
const MAX_ANSWER: usize = 1 << 30;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error(
        "no agent listens on {path} ({source}); start one with `mesh-agent run`, or name the socket of the one that runs \
         with --admin-socket"
    )]
    NoAgent {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The socket belongs to somebody else.
    #[error("{path} is not yours to ask ({source}); ask as the user the agent runs as")]
    NotAllowed {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another failure to connect.
    #[error("cannot connect to {path}: {source}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The agent listens, but does not answer.
    #[error("the agent on {path} did not answer within {TIMEOUT:?}")]
    Silent {
        /// The socket.
        path: PathBuf,
    },
    /// The exchange broke off.
    #[error("the agent on {path} broke off: {source}")]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The agent refused.
    #[error("the agent on {path} answered {status} to {question}")]
    Refused {
        /// The socket.
        path: PathBuf,
        /// What was asked.
        question: &'static str,
        /// What the agent answered.
        status: StatusCode,
    },
    /// The agent is of another version.
    #[error("the answer of the agent on {path} makes no sense to this version: {source}")]
    Unknown {
        /// The socket.
        path: PathBuf,
        /// What makes no sense.
        source: serde_json::Error,
    },
}

/// The body of the answer to `GET question` on `socket`. Blocks, for 10 s at most.
///
/// # Errors
/// See [`AskError`].
pub fn get(socket: &Path, question: &'static str) -> Result<Bytes, AskError> {
    let path = || socket.to_owned();
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| AskError::Connect { path: path(), source })?;
    let answer = runtime.block_on(async { timeout(TIMEOUT, exchange(socket, question)).await });
    answer.unwrap_or_else(|_| Err(AskError::Silent { path: path() }))
}

/// [`get`], read as JSON.
///
/// # Errors
/// See [`AskError`].
pub fn get_json<T: DeserializeOwned>(socket: &Path, question: &'static str) -> Result<T, AskError> {
    let body = get(socket, question)?;
    serde_json::from_slice(&body).map_err(|source| AskError::Unknown { path: socket.to_owned(), source })
}

async fn exchange(socket: &Path, question: &'static str) -> Result<Bytes, AskError> {
    let path = || socket.to_owned();
    let broken = |source: Box<dyn std::error::Error + Send + Sync>| AskError::Broken { path: path(), source };
    let stream = UnixStream::connect(socket).await.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NoAgent { path: path(), source },
        io::ErrorKind::PermissionDenied => AskError::NotAllowed { path: path(), source },
        _ => AskError::Connect { path: path(), source },
    })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(e.into()))?;
    // Driven beside the exchange: it ends when both sides are through.
    let connection = tokio::spawn(connection);
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = http::Uri::from_static(question);
    request.headers_mut().insert(HOST, http::HeaderValue::from_static("localhost"));
    let response = sender.send_request(request).await.map_err(|e| broken(e.into()))?;
    if response.status() != StatusCode::OK {
        return Err(AskError::Refused { path: path(), question, status: response.status() });
    }
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(broken)?.to_bytes();
    connection.abort();
    Ok(body)
}
