//! Accepting on the admin sockets: few connections, short lives, small heads.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::body::Body;
use tracing::{debug, warn};

use crate::admin::csds::Call;
use crate::admin::respond::{self, respond};
use crate::admin::{Admin, Listeners};

const MAX_CONNECTIONS: usize = 64;
const MAX_HEADERS: usize = 64;
/// Calls at once on one connection.
const MAX_STREAMS: u32 = 16;
/// The least hyper allows is 8 KiB.
const MAX_HEAD: usize = 16 * 1024;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that has not read its answer by then is cut off.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// `accept` fails for lack of descriptors until some are closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Which socket a request came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// The Unix socket: the file's mode has decided.
    Unix,
    /// Loopback TCP: the request's host must say so.
    Tcp,
}

impl Admin {
    /// Answers on `listeners` until the future is dropped, and every open connection with it.
    pub async fn serve(self: Arc<Self>, listeners: Listeners) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            // A slot first: who finds none waits in the listen queue.
            let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
            while connections.try_join_next().is_some() {}
            let tcp = async {
                match &listeners.tcp {
                    Some(tcp) => tcp.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                accepted = listeners.unix.accept() => match accepted {
                    Ok((stream, _)) => { connections.spawn(connection(Arc::clone(&self), stream, Via::Unix, slot)); }
                    Err(error) => pause(&error).await,
                },
                accepted = tcp => match accepted {
                    Ok((stream, _)) => { connections.spawn(connection(Arc::clone(&self), stream, Via::Tcp, slot)); }
                    Err(error) => pause(&error).await,
                },
            }
        }
    }
}

async fn pause(error: &io::Error) {
    warn!(%error, "admin: accept failed");
    sleep(ACCEPT_PAUSE).await;
}

async fn connection<S>(admin: Arc<Admin>, stream: S, via: Via, _slot: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let admin = Arc::clone(&admin);
        async move {
            let response = match Call::of(&request).filter(|_| respond::is_welcome(via, &request)) {
                Some(call) => call.answer(admin, request).await,
                None => respond(&admin, via, &request).map(Body::new),
            };
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEAD as u32);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIMEOUT, pin!(connection)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "admin: connection failed"),
        Err(_) => debug!("admin: connection cut off, it took too long"),
    }
}
