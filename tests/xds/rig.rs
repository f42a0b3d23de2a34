//! The agent's client by itself, with resources that are text, in front of a scripted server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use harness::ads::message::{Any, DeltaResponse, Resource, Response};
use harness::ads::{Ads, Stream};
use harness::config::own_address;
use mesh_agent::model::management::{Keep, Management, Server};
use mesh_agent::model::resource::ResourceKind;
use mesh_agent::xds::client::Client;
use mesh_agent::xds::delivery::{Delivery, News, Reply, Want};
use tokio::runtime::Runtime;

pub(crate) const WAIT: Duration = Duration::from_secs(10);

/// A client, and the loop that stands for the agent's.
pub(crate) struct Rig {
    pub(crate) client: Client<String>,
    runtime: Runtime,
}

/// A server, a client that wants clusters of it, and the stream between them.
pub(crate) struct Talk {
    pub(crate) incremental: bool,
    pub(crate) ads: Ads,
    pub(crate) rig: Rig,
    pub(crate) stream: Stream,
}

impl Talk {
    /// Before the client has said anything.
    pub(crate) fn open(incremental: bool) -> anyhow::Result<Self> {
        let ads = Ads::start(own_address(0))?;
        let rig = Rig::of(&ads, incremental)?;
        let stream = ads.stream(WAIT)?;
        Ok(Self { incremental, ads, rig, stream })
    }

    /// After its first request.
    pub(crate) fn start(incremental: bool) -> anyhow::Result<Self> {
        let talk = Self::open(incremental)?;
        said(&talk.stream)?;
        Ok(talk)
    }

    /// One in each form of the protocol.
    pub(crate) fn both() -> impl Iterator<Item = anyhow::Result<Self>> {
        [false, true].into_iter().map(Self::start)
    }
}

impl Rig {
    pub(crate) fn start(incremental: bool, servers: Vec<Server>, wants: &[Want]) -> anyhow::Result<Self> {
        Self::keeping(incremental, servers, wants, None)
    }

    pub(crate) fn keeping(
        incremental: bool,
        servers: Vec<Server>,
        wants: &[Want],
        keep: Option<Keep>,
    ) -> anyhow::Result<Self> {
        let management = Management { incremental, servers };
        let node = Bytes::from_static(b"\x0a\x04node");
        let client = Client::start(management, node, wants, decode, keep)?;
        Ok(Self { client, runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()? })
    }

    /// With one server, which wants clusters only.
    pub(crate) fn of(ads: &Ads, incremental: bool) -> anyhow::Result<Self> {
        Self::start(incremental, vec![server(ads.address())], &[Want::All(ResourceKind::Cluster)])
    }

    pub(crate) fn next(&mut self) -> anyhow::Result<Delivery<String>> {
        let next = async { tokio::time::timeout(WAIT, self.client.next()).await };
        self.runtime.block_on(next).context("nothing was delivered")
    }

    /// Takes what is delivered next as it is. What changed, and what is gone.
    pub(crate) fn take(&mut self) -> anyhow::Result<(Vec<String>, Vec<String>)> {
        let Delivery { news, reply } = self.next()?;
        let _ = reply.send(Reply::default());
        let News::Update { changed, removed, .. } = news else { anyhow::bail!("{news:?}") };
        let names = |names: Vec<Arc<str>>| names.iter().map(ToString::to_string).collect();
        Ok((names(changed.into_iter().map(|(name, _)| name).collect()), names(removed)))
    }

    /// Whether nothing is delivered for a while.
    pub(crate) fn is_quiet(&mut self, time: Duration) -> bool {
        let next = async { tokio::time::timeout(time, self.client.next()).await };
        self.runtime.block_on(next).is_err()
    }
}

/// Content that begins with `bad` is none.
fn decode(_: ResourceKind, bytes: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    if text.contains("bad") { Err(format!("cluster: lb_policy: {text:?} is not supported")) } else { Ok(text) }
}

pub(crate) fn server(address: SocketAddr) -> Server {
    Server {
        name: "plane".to_owned(),
        places: vec![(address.ip().to_string(), address.port())],
        connect_timeout: Duration::from_secs(2),
        metadata: Vec::new(),
        token: None,
        tls: None,
    }
}

/// A resource: its name, and some content.
pub(crate) fn body(name: &str, content: &str) -> Bytes {
    let field = |tag: u8, text: &str| [&[tag, u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
    [field(0x0a, name), field(0x12, content)].concat().into()
}

/// Sends resources `name=content` of a kind, in the form that the stream speaks.
pub(crate) fn send(stream: &Stream, type_url: &str, version: &str, resources: &[&str], removed: &[&str]) {
    let split = |text: &&str| {
        let (name, content) = text.split_once('=').expect("name=content");
        (name.to_owned(), Any { type_url: type_url.to_owned(), value: body(name, content) })
    };
    let (type_url, nonce) = (type_url.to_owned(), format!("nonce {version}"));
    let version = version.to_owned();
    if stream.is_delta() {
        let resource =
            |(name, any)| Resource { version: version.clone(), resource: Some(any), name, aliases: Vec::new() };
        let resources = resources.iter().map(split).map(resource).collect();
        let removed = removed.iter().map(ToString::to_string).collect();
        stream.send(&DeltaResponse { version: version.clone(), resources, type_url, nonce, removed });
    } else {
        let resources = resources.iter().map(split).map(|(_, any)| any).collect();
        stream.send(&Response { version, resources, type_url, nonce });
    }
}

/// What a request says in either form: nonce, error, and what the client has (delta: names; SotW: the version).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) type_url: String,
    pub(crate) nonce: String,
    pub(crate) error: Option<String>,
    pub(crate) has: Vec<String>,
    pub(crate) names: Vec<String>,
    pub(crate) node: Option<String>,
}

pub(crate) fn said(stream: &Stream) -> anyhow::Result<Said> {
    use harness::ads::message::{DeltaRequest, Request};
    if stream.is_delta() {
        let DeltaRequest { node, type_url, subscribe, initial, nonce, error, .. } = stream.request()?;
        let mut has: Vec<_> = initial.into_iter().map(|(name, version)| format!("{name}@{version}")).collect();
        has.sort();
        let (node, error) = (node.map(|it| it.id), error.map(|it| it.message));
        Ok(Said { type_url, nonce, error, has, names: subscribe, node })
    } else {
        let Request { version, node, names, type_url, nonce, error } = stream.request()?;
        let (node, error) = (node.map(|it| it.id), error.map(|it| it.message));
        Ok(Said { type_url, nonce, error, has: vec![version], names, node })
    }
}
