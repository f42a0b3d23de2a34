//! A connection to one place of a management server: TCP, and TLS where it is asked for.

use std::io;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

use super::stream::StreamError;
use crate::identity;
use crate::model::management::Server;

/// Connects, which takes `connect_timeout` at most.
pub(super) async fn connect(server: &Server, (host, port): &(String, u16)) -> Result<Channel, StreamError> {
    let tls = server.tls.as_ref().map(|tls| identity::ManagementClient::new(tls, b"h2")).transpose()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{authority}")).map_err(StreamError::Connect)?;
    let endpoint = endpoint
        .connect_timeout(server.connect_timeout)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        // A burst of 10,000 resources should not wait for a round trip every 64 KiB.
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    let place = (host.clone(), *port);
    let dial = tower::service_fn(move |_| dial(place.clone(), tls.clone()));
    endpoint.connect_with_connector(dial).await.map_err(StreamError::Connect)
}

async fn dial(
    (host, port): (String, u16),
    tls: Option<identity::ManagementClient>,
) -> io::Result<TokioIo<Box<dyn Connection>>> {
    let tcp = TcpStream::connect((host.as_str(), port)).await?;
    tcp.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(&tcp).set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_RETRIES))?;
    let connection: Box<dyn Connection> = match tls {
        None => Box::new(tcp),
        Some(tls) => Box::new(tls.connect(tcp, &host).await?),
    };
    Ok(TokioIo::new(connection))
}

/// With TLS or without.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// A dead peer is found out by the kernel (TCP), in about a minute.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
/// A peer that is there and does not answer, by pings. gRPC servers hang up on who pings more often, unless told otherwise.
const PING_INTERVAL: Duration = Duration::from_secs(300);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
const WINDOW: u32 = 4 << 20;
