//! The interface as a client sees it, over real sockets.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::admin::{self, Admin, AskError, BindError, Listeners, Readiness, WorkloadView};
use crate::drain;
use crate::model::cluster::{BalancePolicy, Cluster, DEFAULT_PANIC_THRESHOLD, Discovery, UpstreamProtocol};
use crate::model::config::Config;
use crate::model::endpoint::{Endpoint, Roster};
use crate::model::management::KnownResources;
use crate::model::name::WorkloadName;
use crate::model::workload::{Mode, Workload};
use crate::snapshot::{Builder, Publisher};
use crate::telemetry::{Destination, Source, Telemetry};

/// A folder of its own, removed with everything in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bowline-admin-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("agent.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Served {
    folder: Folder,
    tcp: std::net::SocketAddr,
    admin: Arc<Admin>,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Served {
    async fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: agent\r\n")).await
    }

    async fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn ask(&self, head: &str) -> (u16, String) {
        exchange(UnixStream::connect(self.folder.socket()).await.unwrap(), head).await
    }

    async fn ask_tcp(&self, head: &str) -> u16 {
        exchange(TcpStream::connect(self.tcp).await.unwrap(), head).await.0
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str) -> (u16, String) {
    stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await.unwrap();
    // A refused request is reset once answered: what came before counts.
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), body.to_owned())
}

fn serve(name: &str) -> Served {
    let folder = Folder::new(name);
    let listeners = Listeners::bind(&folder.socket(), Some(([127, 0, 0, 1], 0).into())).unwrap();
    let tcp = listeners.address().unwrap();
    let cluster = Cluster {
        tls: None,
        name: "reviews".into(),
        discovery: Discovery::Static(Roster {
            endpoints: vec![Endpoint::new("[2001:db8::1]:9080".parse().unwrap(), 3)],
            ..Roster::default()
        }),
        connect_timeout: Duration::from_millis(250),
        protocol: UpstreamProtocol::Http1,
        balance: BalancePolicy::RoundRobin,
        panic_threshold: DEFAULT_PANIC_THRESHOLD,
        weighs_localities: false,
    };
    let config = Config { clusters: vec![Arc::new(cluster)], ..Config::default() };
    let (snapshot, rejected) = Builder::default().build(&[], &config.clusters, &Default::default());
    assert_eq!(rejected, []);
    let publisher = Publisher::default();
    publisher.publish(snapshot);
    let workload = Workload {
        name: WorkloadName::from("ratings-v1"),
        namespace: "default".into(),
        service_account: "ratings".into(),
        labels: Default::default(),
        netns: None,
        cgroup: Some("demo/ratings".into()),
        addresses: vec![[10, 0, 0, 9].into()],
        mode: Mode::Enforce,
    };
    let admin = Arc::new(Admin {
        config: Arc::new(config),
        node: bytes::Bytes::new(),
        snapshots: publisher.reader(),
        telemetry: Telemetry::new(1),
        workloads: Box::new(move || vec![WorkloadView::unmeshed(&workload, "its cgroup is gone".into())]),
        management: Box::new(|| None),
        known: Box::new(KnownResources::default),
        acceleration: Arc::default(),
        readiness: Readiness::default(),
        drain: drain::pair().0,
    });
    let task = tokio::spawn(Arc::clone(&admin).serve(listeners));
    Served { folder, tcp, admin, task }
}

#[tokio::test]
async fn ready_follows_the_agent() {
    let served = serve("ready");
    assert_eq!(served.get("/livez").await, (200, "ok\n".into()));
    assert_eq!(served.get("/readyz").await, (503, "starting\n".into()));
    served.admin.readiness.set();
    assert_eq!(served.get("/readyz").await, (200, "ok\n".into()));
    assert_eq!(served.get("/drain").await.0, 405);
    assert!(!served.admin.drain.watcher().draining());
    let from_page = "POST /drain HTTP/1.1\r\nhost: agent\r\norigin: http://evil.example\r\n";
    assert_eq!(served.ask(from_page).await.0, 403);
    let (status, _) = served.ask("POST /drain HTTP/1.1\r\nhost: agent\r\ncontent-length: 0\r\n").await;
    assert_eq!(status, 200);
    assert!(served.admin.drain.watcher().draining());
    assert_eq!(served.get("/readyz").await, (503, "draining\n".into()));
    assert_eq!(served.get("/livez").await.0, 200);
}

#[tokio::test]
async fn shows_what_is_in_force() {
    let served = serve("shows");
    served.admin.telemetry.worker(0).edge(&Source::Unknown, Destination::Passthrough).request(200, Duration::ZERO);
    let dump = served.json("/config_dump").await;
    let cluster = &dump["configs"][1]["static_clusters"][0]["cluster"];
    assert_eq!(cluster["name"], "reviews");
    assert_eq!(cluster["connect_timeout"], "0.250s");
    let endpoint = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0];
    assert_eq!(endpoint["endpoint"]["address"]["socket_address"]["address"], "2001:db8::1");
    let (_, clusters) = served.get("/clusters").await;
    assert!(clusters.contains("reviews::[2001:db8::1]:9080::weight::3\n"), "{clusters}");
    let clusters = served.json("/clusters?format=json").await;
    assert_eq!(clusters["cluster_statuses"][0]["host_statuses"][0]["weight"], 3);
    let workloads = served.json("/workloads").await;
    assert_eq!((&workloads[0]["state"], &workloads[0]["mode"]), (&"unmeshed".into(), &"enforce".into()));
    assert_eq!(served.json("/edges").await[0]["requests"], 1);
    assert_eq!(served.json("/connections").await, Value::Array(vec![]));
    assert!(served.get("/metrics").await.1.contains("# TYPE bowline_requests_total counter\n"));
    assert!(served.get("/").await.1.contains("/config_dump"));
    assert_eq!(served.get("/stats").await.0, 404);
    assert_eq!(served.ask("POST /metrics HTTP/1.1\r\nhost: agent\r\ncontent-length: 0\r\n").await.0, 405);
}

#[tokio::test]
async fn tcp_answers_only_to_loopback_names() {
    let served = serve("rebind");
    for (host, expected) in [
        ("host: localhost:15000\r\n", 200),
        ("host: LOCALHOST\r\n", 200),
        ("host: 127.0.0.1\r\n", 200),
        ("host: [::1]:15000\r\n", 200),
        ("host: evil.example\r\n", 403),
        ("host: localhost.evil.example\r\n", 403),
        ("host: evil@localhost\r\n", 403),
        ("host: 10.0.0.1\r\n", 403),
        ("host: \r\n", 403),
        ("", 403),
        ("host: localhost\r\nhost: evil.example\r\n", 403),
    ] {
        assert_eq!(served.ask_tcp(&format!("GET /livez HTTP/1.1\r\n{host}")).await, expected, "{host}");
    }
}

#[tokio::test]
async fn heads_are_bounded() {
    let served = serve("bounds");
    let line = format!("x-fill: {}\r\n", "x".repeat(1000));
    let (status, _) = served.ask(&format!("GET /livez HTTP/1.1\r\nhost: a\r\n{}", line.repeat(40))).await;
    assert_eq!(status, 431);
    assert_eq!(served.ask("GET /livez HTTP/1.1\r\nhost : a\r\n").await.0, 400);
    assert_eq!(served.get("/livez").await.0, 200);
}

#[tokio::test]
async fn socket_is_private_and_goes_with_its_agent() {
    use std::os::unix::fs::PermissionsExt;

    let served = serve("private");
    let socket = served.folder.socket();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&socket), 0o600);
    let error = Listeners::bind(&socket, None).unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }) && error.to_string().contains("agent.sock"), "{error}");
    served.task.abort();
    while !served.task.is_finished() {
        tokio::task::yield_now().await;
    }
    assert!(!socket.exists());
}

#[tokio::test]
async fn socket_of_a_dead_agent_is_replaced_but_no_file_is() {
    let folder = Folder::new("stale");
    drop(UnixListener::bind(folder.socket()).unwrap());
    assert!(folder.socket().exists());
    drop(Listeners::bind(&folder.socket(), None).unwrap());
    std::fs::write(folder.socket(), "mine").unwrap();
    assert!(matches!(Listeners::bind(&folder.socket(), None), Err(BindError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(folder.socket()).unwrap(), "mine");
}

#[tokio::test]
async fn nobody_can_hold_up_the_start() {
    let folder = Folder::new("held");
    let lock = std::fs::File::open(&folder.0).unwrap();
    lock.lock().unwrap();
    let error = Listeners::bind(&folder.socket(), None).unwrap_err();
    assert!(error.to_string().contains("locked"), "{error}");
    drop(lock);

    let hung = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).unwrap();
    let path = SockAddr::unix(folder.socket()).unwrap();
    hung.bind(&path).unwrap();
    hung.listen(0).unwrap();
    let mut waiting = Vec::new();
    loop {
        waiting.push(Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).unwrap());
        if waiting.last().unwrap().connect(&path).is_err() {
            break;
        }
    }
    assert!(matches!(Listeners::bind(&folder.socket(), None), Err(BindError::InUse { .. })), "its queue is full");
}

#[tokio::test]
async fn the_command_line_reads_what_the_agent_writes() {
    let served = serve("ask");
    let socket = served.folder.socket();
    tokio::task::spawn_blocking(move || {
        let workloads: Vec<WorkloadView> = admin::get_json(&socket, "/workloads").unwrap();
        assert_eq!(workloads[0].name, "ratings-v1");
        assert_eq!(workloads[0].reason.as_deref(), Some("its cgroup is gone"));
        let refused = admin::get(&socket, "/nothing").unwrap_err();
        assert!(matches!(refused, AskError::Refused { .. }), "{refused}");
        let other = admin::get_json::<u32>(&socket, "/workloads").unwrap_err();
        assert!(matches!(other, AskError::Unknown { .. }), "{other}");
        let nobody = admin::get(&socket.with_extension("none"), "/livez").unwrap_err();
        assert!(nobody.to_string().contains("--admin-socket"), "{nobody}");
    })
    .await
    .unwrap();
}
