//! What the admin interface says of the management server and of files of resources, in JSON. The command line reads the same type back.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::model::management::{FileStanding, KindStanding, LastGood, OnDemand, Standing};
use crate::model::resource::ResourceKind;

/// `/config`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigView {
    /// Whom the stream that is open goes to.
    pub server: Option<String>,
    /// How long it has been open, or how long there has been none, in milliseconds.
    pub since_ms: Option<u64>,
    /// Streams that were opened so far.
    pub streams: u64,
    /// Attempts and streams that failed.
    pub failures: u64,
    /// The last failure.
    pub last_failure: Option<String>,
    /// By kind, those that a response came for.
    pub kinds: Vec<KindView>,
    /// What is there because somebody needs it, if that is how it comes.
    pub on_demand: Option<OnDemandView>,
    /// Whether there is a server to be asked at all.
    pub asks_server: bool,
    /// Files of resources.
    pub files: Vec<FileView>,
    /// What is kept on disk, if that is wanted.
    pub last_good: Option<LastGoodView>,
}

/// What is kept on disk of what the management server sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastGoodView {
    /// Who had sent what is live, if that was kept and no server has answered yet.
    pub serving: Option<String>,
    /// How old that is, in milliseconds.
    pub age_ms: Option<u64>,
    /// Resources that are kept.
    pub resources: usize,
    /// Bytes on disk.
    pub bytes: u64,
    /// Why nothing is kept, if so.
    pub failure: Option<String>,
}

/// A file of resources. Its version is that of the last content that could be read, its updates are all there were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileView {
    /// The file.
    pub path: String,
    /// What it holds, and how it stands with that.
    #[serde(flatten)]
    pub kind: KindView,
    /// Why its changes are not noticed, if they are not.
    pub unwatched: Option<String>,
}

/// What comes on demand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDemandView {
    /// Clusters that were asked for and are live.
    pub clusters: usize,
    /// The same of route configurations.
    pub routes: usize,
    /// The same of virtual hosts.
    #[serde(default)]
    pub virtual_hosts: usize,
    /// What somebody waits for.
    pub warming: usize,
    /// What was asked for and is not to be had.
    pub missing: usize,
    /// Clusters that are named, and that nobody has needed.
    pub cold: usize,
    /// What was let go so far, because nobody used it.
    pub expired: u64,
}

/// One kind of resources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindView {
    /// `CDS`, `EDS`...
    pub service: String,
    /// Version of the last response.
    pub version: String,
    /// How old it is, in milliseconds.
    pub age_ms: Option<u64>,
    /// Resources that are live, or wait for what they refer to.
    pub resources: usize,
    /// Responses so far.
    pub updates: u64,
    /// Those in which something was refused.
    pub refused: u64,
    /// What was refused in the last response, and why.
    pub refusal: Option<String>,
}

impl ConfigView {
    pub(super) fn of(standing: Standing, now: SystemTime) -> Self {
        let Standing {
            server,
            since,
            streams,
            failures,
            last_failure,
            kinds,
            on_demand,
            asks_server,
            files,
            last_good,
            ..
        } = standing;
        let kinds = kinds.into_iter().map(|(kind, it)| KindView::of(kind, it, now)).collect();
        let on_demand = on_demand.map(|it| {
            let OnDemand { clusters, routes, virtual_hosts, warming, missing, cold, expired, .. } = it;
            OnDemandView { clusters, routes, virtual_hosts, warming, missing, cold, expired }
        });
        let since_ms = since.map(|since| age(since, now));
        let files = files.into_iter().map(|FileStanding { path, kind, standing, unwatched }| {
            let (path, kind) = (path.display().to_string(), KindView::of(kind, standing, now));
            FileView { path, kind, unwatched }
        });
        let files = files.collect();
        let last_good = last_good.map(|LastGood { serving, resources, bytes, failure }| {
            let (at, serving) = serving.unzip();
            LastGoodView { serving, age_ms: at.map(|at| age(at, now)), resources, bytes, failure }
        });
        Self { server, since_ms, streams, failures, last_failure, kinds, on_demand, asks_server, files, last_good }
    }
}

impl KindView {
    fn of(kind: ResourceKind, it: KindStanding, now: SystemTime) -> Self {
        let KindStanding { version, at, updates, refused, refusal, held } = it;
        let (service, age_ms) = (kind.service().to_owned(), at.map(|at| age(at, now)));
        Self { service, version, age_ms, resources: held, updates, refused, refusal }
    }
}

fn age(since: SystemTime, now: SystemTime) -> u64 {
    // A clock that was set back says nothing of ages.
    let age = now.duration_since(since).unwrap_or_default();
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}
