//! What a folder under `tests/data` says: which upstreams there are and which requests are sent.
//!
//! There is nothing about the right answers here: Envoy gives those. The format is told in `tests/data/README.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::yaml::parse;

/// One folder: a configuration and the cases that are run on it.
#[derive(Debug)]
pub(crate) struct Suite {
    pub(crate) folder: PathBuf,
    pub(crate) config: String,
    pub(crate) cases: Cases,
}

/// `cases.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cases {
    /// The theme in one line.
    pub(crate) about: String,
    /// Servers behind the proxy, and what they speak.
    #[serde(default)]
    pub(crate) upstreams: BTreeMap<String, Kind>,
    /// Proxies that share the cases, where they would take too long one after the other.
    #[serde(default = "one")]
    pub(crate) lanes: usize,
    pub(crate) cases: Vec<Case>,
}

/// What an upstream speaks.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Http1,
    Http2,
    Tcp,
}

/// One exchange with the proxy. Exactly one of `send`, `h2` and `tcp` is there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// What is remarkable about it.
    #[serde(default)]
    #[expect(dead_code, reason = "read by people; named here so that other unknown keys are refused")]
    pub(crate) why: Option<String>,
    /// Which `${listen.NAME}` is spoken to.
    #[serde(default = "main_listener")]
    pub(crate) listener: String,
    /// HTTP/1 bytes.
    #[serde(default)]
    pub(crate) send: Option<Script>,
    /// HTTP/2 requests, one after the other on one connection.
    #[serde(default)]
    pub(crate) h2: Option<OneOrMany>,
    /// Bytes without a protocol.
    #[serde(default)]
    pub(crate) tcp: Option<Script>,
    /// Final responses to wait for. Default: one per `head` of `send`.
    #[serde(default)]
    pub(crate) responses: Option<usize>,
    /// Milliseconds to wait for the connection's end, if the usual time is too short.
    #[serde(default)]
    pub(crate) linger: Option<u64>,
    /// Sends it so often, and only records whether the answers are spread as `spread` says.
    #[serde(default)]
    pub(crate) repeat: Option<usize>,
    /// Weights of the response bodies.
    #[serde(default)]
    pub(crate) spread: BTreeMap<String, u32>,
    /// What upstreams answer, other than their default.
    #[serde(default)]
    pub(crate) answers: BTreeMap<String, Script>,
    /// Parts of the observation that a race decides, left out.
    #[serde(default)]
    pub(crate) racy: Vec<Part>,
}

/// A part of an observation.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    Upstream,
    After,
}

/// The requests of `h2`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(Script),
    Many(Vec<Script>),
}

/// What one side does on a connection or stream, in order. A bare string is one `head`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Script {
    Head(String),
    Ops(Vec<Op>),
}

/// One step of a script.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Op {
    /// Lines, ended as HTTP/1 has it, and the empty line; on HTTP/2 a header block.
    Head(String),
    /// Bytes as they are.
    Raw(String),
    /// A byte so many times.
    Fill(String, usize),
    /// A chunk of a chunked body; on HTTP/2 a DATA frame.
    Chunk(String),
    /// End of a chunked body, with these trailers; on HTTP/2 the end of the stream.
    End(String),
    /// Milliseconds.
    Wait(u64),
    /// Until so many response heads have come, interim ones included.
    Await(usize),
    /// Until an upstream has the request's head.
    Seen,
    /// Ends our direction of the connection.
    Shut,
    /// Closes the connection.
    Close,
    /// Resets the connection or stream.
    Reset,
    /// Upstreams only, and first: does not wait for the request's body.
    Early,
    /// Upstreams only: sends back what comes until it ends; implies `early` on HTTP/2.
    Echo,
    /// Upstreams only: says nothing until the proxy gives up.
    Silent,
}

impl Script {
    pub(crate) fn ops(&self) -> Vec<Op> {
        match self {
            Self::Head(head) => vec![Op::Head(head.clone())],
            Self::Ops(ops) => ops.clone(),
        }
    }
}

impl Suite {
    pub(crate) fn load(name: &str) -> Result<Self> {
        let folder = data_folder().join(name);
        let read = |file: &str| fs::read_to_string(folder.join(file)).with_context(|| format!("{name}/{file}"));
        let cases: Cases = parse(&read("cases.yaml")?).with_context(|| format!("{name}/cases.yaml"))?;
        for case in &cases.cases {
            let kinds = [case.send.is_some(), case.h2.is_some(), case.tcp.is_some()];
            if kinds.iter().filter(|set| **set).count() != 1 {
                bail!("{name}: case {:?} needs exactly one of send, h2, tcp", case.name);
            }
        }
        Ok(Self { config: read("envoy.yaml")?, cases, folder })
    }
}

/// `tests/data`.
pub(crate) fn data_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data")
}

/// The bytes of a text in which each character stands for one byte.
pub(crate) fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

/// The text of bytes, one character per byte.
pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}

fn main_listener() -> String {
    "main".to_owned()
}

fn one() -> usize {
    1
}
