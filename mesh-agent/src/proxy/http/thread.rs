//! What the HTTP connections of one data thread share: idle upstream connections, memory for heads, the current date.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::proxy::http::h1::client::Client;
use crate::proxy::http::h2;
use crate::proxy::http::head::Heads;
use crate::proxy::worker::Worker;
use crate::snapshot::{ClusterSlot, Snapshot};
use crate::transport::TargetKey;
use crate::transport::pool::{IdlePool, MAX_IDLE};

/// Heads kept in stock.
const HEADS: usize = 64;
/// Text of a head from which on its memory is not kept.
const LARGE_HEAD: usize = 16 * 1024;
/// Time between two looks at idle upstream connections.
const SWEEP: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Default)]
pub(crate) struct HttpThread {
    #[expect(clippy::vec_box, reason = "heads are handed out and taken back as boxes")]
    heads: RefCell<Vec<Box<Heads>>>,
    idle: RefCell<IdlePool<Client, ClusterSlot>>,
    shared: h2::client::Connections,
    sweeping: Cell<bool>,
    own_address: OnceCell<IpAddr>,
    date: Cell<(u64, [u8; DATE_LEN])>,
}

impl HttpThread {
    /// Memory for the heads of one exchange.
    pub(crate) fn heads(&self) -> Box<Heads> {
        self.heads.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes that memory back.
    pub(crate) fn give_heads(&self, mut heads: Box<Heads>) {
        let mut stock = self.heads.borrow_mut();
        if stock.len() < HEADS && heads.request.fields.capacity() + heads.response.fields.capacity() < LARGE_HEAD {
            heads.clear();
            stock.push(heads);
        }
    }

    /// An idle connection to `key`, the one used last, if there is one that is still open.
    pub(crate) fn take_idle(&self, key: &TargetKey) -> Option<Client> {
        self.idle.borrow_mut().take(key, Client::is_alive)
    }

    /// Keeps a connection to an endpoint of `cluster` for the next request to `key`.
    pub(crate) fn give_idle(&self, worker: &Rc<Worker>, key: TargetKey, cluster: ClusterSlot, client: Client) {
        self.idle.borrow_mut().give(key, cluster, client, Instant::now());
        self.start_sweeping(worker);
    }

    /// The HTTP/2 connections to `key`, an endpoint of `cluster`.
    pub(crate) fn shared(&self, worker: &Rc<Worker>, key: TargetKey, cluster: ClusterSlot) -> Rc<h2::client::Group> {
        self.start_sweeping(worker);
        self.shared.group(key, cluster)
    }

    fn start_sweeping(&self, worker: &Rc<Worker>) {
        if !self.sweeping.replace(true) {
            tokio::task::spawn_local(sweep(Rc::downgrade(worker)));
        }
    }

    /// Idle upstream connections held now.
    pub(crate) fn idle_connections(&self) -> usize {
        self.idle.borrow().len()
    }

    /// An address by which others can know this host: the one it would send from to anywhere.
    pub(crate) fn own_address(&self) -> IpAddr {
        *self.own_address.get_or_init(|| {
            // Connecting a UDP socket sends nothing; the address is one that is nobody's (RFC 5737).
            let routed = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
                socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
                socket.local_addr()
            });
            routed.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
        })
    }

    /// The time as HTTP writes it (RFC 9110, 5.6.7), formatted once per second.
    pub(crate) fn date(&self) -> [u8; DATE_LEN] {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (second, text) = self.date.get();
        if second == now {
            return text;
        }
        let mut text = [b' '; DATE_LEN];
        let formatted = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now));
        if let Ok(formatted) = formatted.as_bytes().try_into() {
            text = formatted;
        }
        self.date.set((now, text));
        text
    }
}

impl fmt::Debug for HttpThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpThread").field("idle", &self.idle_connections()).finish_non_exhaustive()
    }
}

/// Closes idle connections that the peer closed, that were idle for too long, or that lead to an endpoint which the cluster they were
/// last used for does not have any more. Ends when there are none, or with the thread.
async fn sweep(worker: std::rc::Weak<Worker>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(worker) = worker.upgrade() else { return };
        let wanted = Wanted { snapshot: worker.snapshot(), addresses: RefCell::default() };
        let mut idle = worker.http.idle.borrow_mut();
        let now = Instant::now();
        idle.sweep(now, Client::is_alive, |cluster, key| wanted.has(*cluster, key));
        worker.http.shared.sweep(|key, cluster, used| {
            cluster.is_some_and(|cluster| wanted.has(cluster, key)) && now.duration_since(used) < MAX_IDLE
        });
        if idle.is_empty() && worker.http.shared.is_empty() {
            worker.http.sweeping.set(false);
            return;
        }
    }
}

/// Which addresses clusters have; each cluster is read once, and only if somebody asks.
struct Wanted {
    snapshot: Arc<Snapshot>,
    addresses: RefCell<HashMap<ClusterSlot, HashSet<SocketAddr>>>,
}

impl Wanted {
    fn has(&self, cluster: ClusterSlot, key: &TargetKey) -> bool {
        // Who shook hands with other certificates, or trusted others, is not sent anything any more.
        let tls = self.snapshot.cluster(cluster).and_then(|live| live.tls.as_ref()).map(|client| client.id());
        if key.tls() != tls {
            return false;
        }
        let read = || {
            let live = self.snapshot.cluster(cluster);
            live.into_iter().flat_map(|live| &live.endpoints.endpoints).map(|endpoint| endpoint.address).collect()
        };
        self.addresses.borrow_mut().entry(cluster).or_insert_with(read).contains(&key.address())
    }
}

const DATE_LEN: usize = "Sun, 06 Nov 1994 08:49:37 GMT".len();
