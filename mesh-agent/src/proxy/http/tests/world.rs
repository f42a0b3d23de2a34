//! A data thread with one HTTP chain, and endpoints that say what they are told to.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::drain;
use crate::model::cluster::{
    BalancePolicy, Cluster, DEFAULT_PANIC_THRESHOLD, Discovery, Http2Options, UpstreamProtocol,
};
use crate::model::endpoint::{Endpoint, Roster};
use crate::model::extension::{Place, Router};
use crate::model::filter::{Codec, HttpConnectionManager, NetworkFilter, RouteSource, ServerHeader, WeightedCluster};
use crate::model::flow::Direction;
use crate::model::listener::{ChainMatch, FilterChain, Listener};
use crate::model::route::{
    Action, DirectResponse, Domain, Forward, HostRewrite, IdleTimeout, PathMatch, PathRewrite, Route, RouteConfig,
    RouteMatch, VirtualHost,
};
use crate::proxy::connection::{Connection, Origin};
use crate::proxy::http::serve;
use crate::proxy::worker::{Tools, Worker};
use crate::snapshot::{Builder, HttpChain, LiveFilter, Publisher};
use crate::telemetry::{ConnectionInfo, Source, Telemetry};

/// Routes of every world: `/direct` is answered by the agent, `/none` has no endpoint, all else goes to the endpoint.
pub(super) struct World {
    pub(super) worker: Rc<Worker>,
    pub(super) chain: Arc<HttpChain>,
    pub(super) trigger: drain::Trigger,
    pub(super) telemetry: Arc<Telemetry>,
}

/// A connection manager with Envoy's defaults.
pub(super) fn manager() -> HttpConnectionManager {
    HttpConnectionManager {
        stat_prefix: "test".into(),
        codec: Codec::Auto,
        routes: RouteSource::Inline(Arc::new(RouteConfig { name: "".into(), virtual_hosts: Vec::new(), vhds: None })),
        server_name: "bowline".into(),
        server_header: ServerHeader::Overwrite,
        via: None,
        use_remote_address: false,
        xff_num_trusted_hops: 0,
        skip_xff_append: false,
        generate_request_id: true,
        preserve_external_request_id: false,
        always_set_request_id_in_response: false,
        max_request_headers_kb: 60,
        max_headers_count: 100,
        idle_timeout: Some(Duration::from_secs(3600)),
        stream_idle_timeout: Some(Duration::from_secs(300)),
        request_timeout: None,
        request_headers_timeout: None,
        upgrades: vec!["websocket".into()],
        normalize_path: false,
        merge_slashes: false,
        accept_http_10: false,
        http1_trailers: true,
        on_demand: false,
        router: Place::Fixed(Router::default()),
        http2: Http2Options::default(),
    }
}

impl World {
    pub(super) fn new(endpoint: SocketAddr, protocol: UpstreamProtocol) -> Self {
        Self::with(endpoint, protocol, manager())
    }

    pub(super) fn with(endpoint: SocketAddr, protocol: UpstreamProtocol, mut manager: HttpConnectionManager) -> Self {
        manager.routes = RouteSource::Inline(Arc::new(routes()));
        let cluster = |name: &str, endpoints: Vec<Endpoint>| {
            Arc::new(Cluster {
                tls: None,
                name: name.into(),
                discovery: Discovery::Static(Roster { endpoints, ..Roster::default() }),
                connect_timeout: Duration::from_secs(1),
                protocol,
                balance: BalancePolicy::RoundRobin,
                panic_threshold: DEFAULT_PANIC_THRESHOLD,
                weighs_localities: false,
            })
        };
        let clusters = [cluster("backend", vec![Endpoint::new(endpoint, 1)]), cluster("empty", Vec::new())];
        let listener = Arc::new(Listener {
            name: "l".into(),
            address: ([127, 0, 0, 1], 1).into(),
            bind: true,
            catch_all: false,
            direction: Direction::Outbound,
            detect: None,
            chains: vec![FilterChain {
                name: String::new(),
                matches: ChainMatch::default(),
                authorization: Vec::new(),
                filter: NetworkFilter::Http(Arc::new(manager)),
            }],
            default_chain: None,
        });
        let (snapshot, rejected) = Builder::default().build(&[listener], &clusters, &HashMap::new());
        assert_eq!(rejected, []);
        let publisher = Publisher::default();
        let snapshot = publisher.publish(snapshot);
        let LiveFilter::Http(chain) = &snapshot.listeners()[0].chains[0].filter else { panic!("an HTTP chain") };
        let (trigger, watcher) = drain::pair();
        let telemetry = Telemetry::new(1);
        let tools = Tools {
            snapshots: publisher.reader(),
            steering: None,
            telemetry: telemetry.worker(0),
            drain: watcher,
            server_first: Arc::default(),
            asker: None,
        };
        Self { worker: Rc::new(Worker::new(tools, 7)), chain: Arc::clone(chain), trigger, telemetry }
    }

    /// A client's connection to the agent.
    pub(super) async fn connect(&self) -> TcpStream {
        self.connect_to_task().await.0
    }

    /// The same, and the task that serves it.
    pub(super) async fn connect_to_task(&self) -> (TcpStream, JoinHandle<()>) {
        let (client, connection) = self.accept().await;
        let (worker, chain) = (Rc::clone(&self.worker), Arc::clone(&self.chain));
        (client, tokio::task::spawn_local(async move { serve(&worker, connection, &chain).await }))
    }

    /// What the task of a connection weighs.
    pub(super) async fn serve_size(&self) -> usize {
        let (_client, connection) = self.accept().await;
        size_of_val(&serve(&self.worker, connection, &self.chain))
    }

    async fn accept(&self) -> (TcpStream, Connection) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connects");
        let (stream, peer) = listener.accept().await.expect("accepts");
        let origin = Origin {
            peer,
            destination: ([127, 0, 0, 1], 1).into(),
            pod: None,
            direction: Direction::Outbound,
            source: Source::Unknown,
        };
        let listed = self.worker.telemetry.connection(ConnectionInfo {
            source: Source::Unknown,
            peer,
            original_destination: None,
            listener: None,
        });
        (client, Connection { stream, read_ahead: BytesMut::new(), origin: Rc::new(origin), listed })
    }
}

fn routes() -> RouteConfig {
    let forward = |cluster: &str| {
        Action::Forward(Forward {
            clusters: vec![WeightedCluster { name: cluster.into(), weight: 1 }],
            timeout: Some(Duration::from_secs(15)),
            idle_timeout: IdleTimeout::Inherit,
            host: HostRewrite::Keep,
            path: PathRewrite::Keep,
            upgrades: Vec::new(),
            cluster_not_found: StatusCode::SERVICE_UNAVAILABLE,
        })
    };
    let route = |prefix: &str, action| Route {
        name: String::new(),
        matches: RouteMatch {
            path: PathMatch::Prefix(prefix.into()),
            case_sensitive: true,
            headers: Vec::new(),
            query: Vec::new(),
            grpc: false,
        },
        action,
    };
    let direct = Action::Respond(DirectResponse { status: StatusCode::IM_A_TEAPOT, body: "short".into() });
    RouteConfig {
        name: "".into(),
        virtual_hosts: vec![VirtualHost {
            name: "all".into(),
            domains: vec![Domain::Exact("a".into())],
            routes: vec![route("/direct", direct), route("/none", forward("empty")), route("/", forward("backend"))],
        }],
        vhds: None,
    }
}

/// Runs a test on a thread of its own kind: one runtime, one set of local tasks, a bounded time.
pub(super) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(20), test).await.expect("in time");
    });
}

/// An endpoint that hands each connection to `serve`.
pub(super) async fn endpoint<F: Future<Output = ()> + 'static>(serve: impl Fn(TcpStream) -> F + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(serve(stream));
        }
    });
    address
}

/// Reads until `end` was seen, or the peer ended.
pub(super) async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut seen = Vec::new();
    // Byte by byte, so as to leave what follows.
    while !seen.ends_with(end.as_bytes()) {
        let Ok(byte) = stream.read_u8().await else { break };
        seen.push(byte);
    }
    String::from_utf8(seen).expect("text")
}

pub(super) async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("sends");
}
