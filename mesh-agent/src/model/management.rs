//! Where resources come from that are not in the agent's own file (`Bootstrap.dynamic_resources`), and how to talk to who has them.

mod known;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::model::resource::ResourceKind;
use crate::model::tls::{ClientTls, DataSource};
pub use known::{Accepted, Known, KnownResources, Refused};

/// `dynamic_resources`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dynamic {
    /// `ads_config`: the one stream that everything with the source `ads` comes over.
    pub ads: Option<Management>,
    /// `cds_config`: where clusters come from, if they do.
    pub clusters: Option<ConfigSource>,
    /// `lds_config`: where listeners come from, if they do.
    pub listeners: Option<ConfigSource>,
}

/// `envoy.config.core.v3.ConfigSource`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSource {
    /// Who has them.
    pub origin: Origin,
    /// How long their first coming is waited for; for ever if `None`. Envoy's default: 15 s.
    pub initial_fetch_timeout: Option<Duration>,
}

/// Who has resources that are not written in the agent's own file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// `ads`: the one management server.
    Server,
    /// `path_config_source`: a file of their own.
    File(Arc<FileSource>),
}

/// `envoy.config.core.v3.PathConfigSource`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileSource {
    /// The file, a discovery response in YAML or JSON.
    pub path: PathBuf,
    /// `watched_directory`: whatever is moved into this folder may be another version of the file, as when it is reached by a link.
    pub watched: Option<PathBuf>,
}

/// `envoy.config.core.v3.ApiConfigSource`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Management {
    /// `DELTA_GRPC` instead of `GRPC`.
    pub incremental: bool,
    /// Who may be asked, in the order in which they are tried. Never empty.
    pub servers: Vec<Server>,
}

/// One management server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// How people know it: the cluster's name, or the target.
    pub name: String,
    /// Name or address, and port, of each place where it may be reached, in order. Never empty.
    pub places: Vec<(String, u16)>,
    /// Most time a connection may take.
    pub connect_timeout: Duration,
    /// What is said with every call: names in lower case, and values.
    pub metadata: Vec<(String, String)>,
    /// What is said as well, from where it is kept.
    pub token: Option<Token>,
    /// How what is said is kept secret, if it is.
    pub tls: Option<ClientTls>,
}

/// A secret that is sent as metadata; read anew for every stream, so that one that was replaced is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The metadata's name, in lower case.
    pub header: String,
    /// What stands before the secret.
    pub prefix: String,
    /// Where it is; white space around it is no part of it.
    pub kept: DataSource,
}

/// How it stands with the management server, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whom the stream that is open goes to.
    pub server: Option<String>,
    /// When it was opened, or when the last one ended.
    pub since: Option<SystemTime>,
    /// Streams that were opened so far.
    pub streams: u64,
    /// Attempts and streams that failed.
    pub failures: u64,
    /// The last failure.
    pub last_failure: Option<String>,
    /// Responses that could not be answered, because nobody asked for their type.
    pub ignored: u64,
    /// By kind, those that a response came for.
    pub kinds: BTreeMap<ResourceKind, KindStanding>,
    /// What is there because somebody needs it, if that is how it comes.
    pub on_demand: Option<OnDemand>,
    /// Whether there is a server to be asked at all.
    pub asks_server: bool,
    /// Files of resources, in order.
    pub files: Vec<FileStanding>,
    /// What is kept on disk, if that is wanted.
    pub last_good: Option<LastGood>,
}

/// How it stands with what is kept on disk of what the management server sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastGood {
    /// What is live was kept, and no server has answered yet: of when it is, and who had sent it.
    pub serving: Option<(SystemTime, String)>,
    /// Resources that are kept.
    pub resources: usize,
    /// Bytes on disk.
    pub bytes: u64,
    /// Why nothing is kept, if so.
    pub failure: Option<String>,
}

/// `mesh.last_good`: what a management server sent last is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The folder, which is this agent's.
    pub folder: PathBuf,
    /// When what was kept before, and was not heard of since a server answers, is forgotten.
    pub settle: Duration,
}

/// How it stands with a file of resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStanding {
    /// The file.
    pub path: PathBuf,
    /// What it holds.
    pub kind: ResourceKind,
    /// How it stands with that.
    pub standing: KindStanding,
    /// Why its changes are not noticed, if they are not.
    pub unwatched: Option<String>,
}

/// How it stands with what comes on demand, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnDemand {
    /// Clusters that were asked for and are live.
    pub clusters: usize,
    /// The same of route configurations.
    pub routes: usize,
    /// The same of virtual hosts.
    pub virtual_hosts: usize,
    /// What somebody waits for.
    pub warming: usize,
    /// What was asked for and is not to be had.
    pub missing: usize,
    /// Clusters that have been named, by listeners, routes or the server, and are neither live nor asked for.
    pub cold: usize,
    /// What somebody has begun to wait for so far: once each time, however many wait.
    pub asked: u64,
    /// What was let go so far, because nobody used it.
    pub expired: u64,
}

/// The same of one kind of resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindStanding {
    /// Version of the last response.
    pub version: String,
    /// When it was judged.
    pub at: Option<SystemTime>,
    /// Responses.
    pub updates: u64,
    /// Those in which something was refused.
    pub refused: u64,
    /// What was refused last, and why; gone when a response is accepted as a whole.
    pub refusal: Option<String>,
    /// Resources that are live, or wait for what they refer to.
    pub held: usize,
}
