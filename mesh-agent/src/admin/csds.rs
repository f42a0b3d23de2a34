//! CSDS: what came from the management server, for tools that speak gRPC (`envoy.service.status.v3.ClientStatusDiscoveryService`).
//!
//! It says of every resource that was asked for or sent what `/config_dump` says in JSON, in one list: also of those that are refused,
//! on their way or not there. A resource is written anew from what was understood of it.

mod message;

use std::collections::HashMap;
use std::future::ready;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use prost::Message as _;
use tokio_stream::{Stream, StreamExt as _};
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Status, Streaming};
use tower::service_fn;

use crate::admin::Admin;
use crate::admin::dump::Live;
use crate::grpc::Raw;
use crate::model::management::{Known, Refused};
use crate::model::resource::ResourceKind;
use crate::protobuf;
use message::{Any, ClientConfig, ClientStatus, GenericXdsConfig, Timestamp, UpdateFailureState};

/// One answer, or one for each question of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Fetch,
    Stream,
}

impl Call {
    /// Which one a request asks for, if it does.
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        let method = request.uri().path().strip_prefix("/envoy.service.status.v3.ClientStatusDiscoveryService/")?;
        match method {
            _ if request.method() != Method::POST => None,
            "FetchClientStatus" => Some(Self::Fetch),
            "StreamClientStatus" => Some(Self::Stream),
            _ => None,
        }
    }

    pub(super) async fn answer(self, admin: Arc<Admin>, request: Request<Incoming>) -> Response<Body> {
        let mut grpc = Grpc::new(Raw).max_decoding_message_size(LONGEST_QUESTION);
        match self {
            Self::Fetch => {
                let one = service_fn(move |question: tonic::Request<Bytes>| {
                    ready(status(&admin, question.into_inner()).map(tonic::Response::new))
                });
                grpc.unary(one, request).await
            }
            Self::Stream => {
                let each = service_fn(move |questions: tonic::Request<Streaming<Bytes>>| {
                    let answers = answers(Arc::clone(&admin), questions.into_inner());
                    ready(Ok::<_, Status>(tonic::Response::new(answers)))
                });
                grpc.streaming(each, request).await
            }
        }
    }
}

/// Most bytes of a question, which is a few flags.
const LONGEST_QUESTION: usize = 64 << 10;

fn answers(admin: Arc<Admin>, questions: Streaming<Bytes>) -> impl Stream<Item = Result<Bytes, Status>> + Send {
    questions.map(move |question| status(&admin, question?))
}

fn status(admin: &Admin, question: Bytes) -> Result<Bytes, Status> {
    let question = message::Request::decode(question)
        .map_err(|error| Status::invalid_argument(format!("not a ClientStatusRequest: {error}")))?;
    if !question.node_matchers.is_empty() {
        return Err(Status::unimplemented("node_matchers: this is one node, and says of itself alone"));
    }
    let generic_xds_configs = resources(&admin.live(), !question.exclude_resource_contents);
    let config = vec![ClientConfig { node: admin.node.clone(), generic_xds_configs }];
    Ok(message::Response { config }.encode_to_vec().into())
}

/// All that is known, by kind and name.
fn resources(live: &Live, with_contents: bool) -> Vec<GenericXdsConfig> {
    let of_kind = |(kind, known): (&ResourceKind, &HashMap<Arc<str>, Known>)| {
        let contents: HashMap<_, _> = if with_contents { live.resources(*kind).collect() } else { HashMap::new() };
        let mut names: Vec<_> = known.iter().collect();
        names.sort_unstable_by_key(|(name, _)| Arc::clone(name));
        let one = |(name, known): (&Arc<str>, &Known)| {
            let content = contents.get(&**name).filter(|_| known.accepted.is_some());
            resource(*kind, name, known, content)
        };
        names.into_iter().map(one).collect::<Vec<_>>()
    };
    live.known.iter().flat_map(of_kind).collect()
}

fn resource(kind: ResourceKind, name: &str, known: &Known, content: Option<&serde_json::Value>) -> GenericXdsConfig {
    let client_status = match known {
        Known { refused: Some(_), .. } => ClientStatus::Nacked,
        Known { accepted: Some(_), .. } => ClientStatus::Acked,
        Known { is_missing: true, .. } => ClientStatus::DoesNotExist,
        Known { .. } => ClientStatus::Requested,
    };
    let value = content.and_then(|content| match protobuf::write(kind.message(), content) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            tracing::warn!(%kind, name, %error, "what is live cannot be written as protobuf");
            None
        }
    });
    GenericXdsConfig {
        type_url: kind.type_url(),
        name: name.to_owned(),
        version_info: known.accepted.as_ref().map(|it| it.version.to_string()).unwrap_or_default(),
        xds_config: value.map(|value| Any { type_url: kind.type_url(), value: value.into() }),
        last_updated: known.accepted.as_ref().map(|it| timestamp(it.at)),
        client_status: client_status.into(),
        error_state: known.refused.as_ref().map(failure),
    }
}

fn failure(refused: &Refused) -> UpdateFailureState {
    UpdateFailureState {
        last_update_attempt: Some(timestamp(refused.at)),
        details: refused.reason.clone(),
        version_info: refused.version.clone(),
    }
}

fn timestamp(at: SystemTime) -> Timestamp {
    // Before 1970 nothing came.
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let nanos = i32::try_from(since.subsec_nanos()).unwrap_or_default();
    Timestamp { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos }
}
