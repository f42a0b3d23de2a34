//! One stream to one management server: bytes out, bytes in.

use bytes::Bytes;
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::connect::connect;
use crate::grpc::Raw;
use crate::identity::{self, IdentityError, SourceError};
use crate::model::management::{Server, Token};
use crate::xds::session::{Unusable, Variant};

/// Largest response. 10,000 clusters have some 10 MB; more than this no server means.
const LARGEST: usize = 64 << 20;
/// Requests that may wait for the server to take them.
const QUEUE: usize = 16;

/// Why there is no stream, or no longer.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    /// No connection.
    #[error("cannot connect: {}", causes(.0))]
    Connect(#[source] tonic::transport::Error),
    /// The server said so, or the connection broke.
    #[error("{}: {}", .0.code().description(), causes(.0))]
    Ended(#[source] Box<Status>),
    /// The server ended it in order.
    #[error("the server ended the stream")]
    Closed,
    /// What the server sent is not the protocol.
    #[error(transparent)]
    Garbage(#[from] Unusable),
    /// The server takes no requests.
    #[error("the server takes no requests")]
    Stalled,
    /// The server says nothing.
    #[error("the server does not answer")]
    Silent,
    /// There can be no TLS.
    #[error("no TLS: {0}")]
    Identity(#[from] IdentityError),
    /// The secret to send is not there.
    #[error("no token from {0}")]
    Token(#[source] SourceError),
    /// The secret, or a name or value of the configuration, cannot be sent.
    #[error("metadata {0:?} cannot be sent: not visible ASCII")]
    Metadata(String),
}

/// An open stream. Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Stream {
    requests: mpsc::Sender<Bytes>,
    responses: mpsc::Receiver<Result<Bytes, StreamError>>,
    reader: JoinHandle<()>,
}

impl Stream {
    /// Connects to one place of `server` and begins a stream. The server may take its time to answer.
    pub(super) async fn open(server: &Server, place: &(String, u16), variant: Variant) -> Result<Self, StreamError> {
        let metadata = metadata(server)?;
        let channel = connect(server, place).await?;
        let (requests, queue) = mpsc::channel(QUEUE);
        let mut request = Request::new(ReceiverStream::new(queue));
        *request.metadata_mut() = metadata;
        // One: what has not been judged waits in the connection, whose window the server has to respect.
        let (sender, responses) = mpsc::channel(1);
        let reader = tokio::spawn(async move {
            let error = read(channel, request, variant, &sender).await;
            // Nobody listens any longer: then nobody has to know.
            let _ = sender.send(Err(error)).await;
        });
        Ok(Self { requests, responses, reader })
    }

    /// Where requests go. Closed when the stream is over, which the next response tells.
    pub(super) fn requests(&self) -> mpsc::Sender<Bytes> {
        self.requests.clone()
    }

    /// The next response.
    pub(super) async fn next(&mut self) -> Result<Bytes, StreamError> {
        self.responses.recv().await.unwrap_or(Err(StreamError::Closed))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(
    channel: Channel,
    request: Request<ReceiverStream<Bytes>>,
    variant: Variant,
    sender: &mpsc::Sender<Result<Bytes, StreamError>>,
) -> StreamError {
    let ended = |status: Status| StreamError::Ended(Box::new(status));
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(LARGEST);
    if let Err(error) = grpc.ready().await {
        return StreamError::Connect(error);
    }
    let method = PathAndQuery::from_static(match variant {
        Variant::Sotw => "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
        Variant::Delta => "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
    });
    let mut responses = match grpc.streaming(request, method, Raw).await {
        Ok(response) => response.into_inner(),
        Err(status) => return ended(status),
    };
    loop {
        match responses.message().await {
            Ok(Some(message)) => {
                if sender.send(Ok(message)).await.is_err() {
                    return StreamError::Closed;
                }
            }
            Ok(None) => return StreamError::Closed,
            Err(status) => return ended(status),
        }
    }
}

fn metadata(server: &Server) -> Result<MetadataMap, StreamError> {
    let token = server.token.as_ref().map(secret).transpose()?;
    let mut metadata = MetadataMap::new();
    for (name, value) in server.metadata.iter().chain(&token) {
        let unfit = || StreamError::Metadata(name.clone());
        let key = AsciiMetadataKey::from_bytes(name.as_bytes()).map_err(|_| unfit())?;
        let value: AsciiMetadataValue = value.parse().map_err(|_| unfit())?;
        metadata.append(key, value);
    }
    Ok(metadata)
}

/// The metadata's name and value.
fn secret(token: &Token) -> Result<(String, String), StreamError> {
    let secret = identity::read(&token.kept).map_err(StreamError::Token)?;
    Ok((token.header.clone(), format!("{}{}", token.prefix, secret.as_str().trim())))
}

/// An error and what caused it: tonic's own text says little more than that there is one.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = match error.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(),
        None => error.to_string(),
    };
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
