//! The client: keeps a stream to a management server, gives its bytes to the session and the session's to it, and hands what
//! changed to whoever makes it live.
//!
//! It runs on a thread of its own, because decoding ten thousand resources takes its time and neither the data path nor the
//! operator's interface is to wait for that. One response is judged at a time: until it is live or refused, the next one waits in
//! the connection, and in the end at the server. So no queue grows, and an ACK means that the resource is live.

mod backoff;
mod connect;
mod restore;
mod stream;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::model::management::{Keep, KnownResources, Management};
use crate::model::resource::ResourceKind;
use crate::xds::delivery::{Decode, Delivery, News, Reply, Want, Wish};
use crate::xds::session::{Fault, Incoming, Name, Session, Update, Variant};
use crate::xds::status::Status;
use crate::xds::wishes::Wishes;
use backoff::Backoff;
use restore::Kept;
use stream::{Stream, StreamError};

/// A client that runs until this is dropped.
#[derive(Debug)]
pub struct Client<R> {
    deliveries: mpsc::Receiver<Delivery<R>>,
    status: Arc<Status>,
    wishes: Arc<Wishes<Wish>>,
    session: Arc<Mutex<Session>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl<R: Send + 'static> Client<R> {
    /// Starts one that wants `wants` to begin with. `node` is an encoded `envoy.config.core.v3.Node`. What is live is kept on disk if
    /// `keep` says where.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start(
        management: Management,
        node: Bytes,
        wants: &[Want],
        decode: Decode<R>,
        keep: Option<Keep>,
    ) -> io::Result<Self> {
        let variant = if management.incremental { Variant::Delta } else { Variant::Sotw };
        let mut session = Session::new(variant, node);
        wants.iter().for_each(|want| want.tell(&mut session));
        let status = Arc::new(Status::default());
        let wishes = Arc::new(Wishes::default());
        let (sender, deliveries) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let session = Arc::new(Mutex::new(session));
        let running = Running {
            management,
            session: Arc::clone(&session),
            decode,
            sender,
            status: Arc::clone(&status),
            wishes: Arc::clone(&wishes),
            told: String::new(),
            kept: Kept::default(),
        };
        let thread = thread::Builder::new().name("xds".to_owned()).spawn(move || {
            runtime.block_on(async {
                let mut running = running;
                running.kept = Kept::open(keep);
                tokio::select! {
                    // Ends with an answer or with the sender's end.
                    _ = stopped => {}
                    () = running.run() => {}
                }
            });
            // A look-up of a name blocks a thread of its own for as long as the host's resolver likes.
            runtime.shutdown_background();
        })?;
        Ok(Self { deliveries, status, wishes, session, stop: Some(stop), thread: Some(thread) })
    }

    /// What changes next. It must be replied to before there is more.
    pub async fn next(&mut self) -> Delivery<R> {
        match self.deliveries.recv().await {
            Some(delivery) => delivery,
            None => std::future::pending().await,
        }
    }

    /// Replies to a delivery.
    pub fn reply(&self, to: oneshot::Sender<Reply>, mut reply: Reply) {
        // What was wished before comes first.
        reply.wishes.splice(..0, self.wishes.take());
        // Nobody to reply to: the client has ended, and the agent is about to.
        let _ = to.send(reply);
    }

    /// Wishes something that is no reply to anything.
    pub fn wish(&self, wishes: Vec<Wish>) {
        if !wishes.is_empty() {
            self.wishes.add(wishes);
        }
    }

    /// Reads what is live, in which version and since when, and what is refused or waited for.
    pub fn known(&self) -> impl Fn() -> KnownResources + Send + Sync + 'static {
        let session = Arc::clone(&self.session);
        move || lock(&session).known(Instant::now(), SystemTime::now())
    }

    /// How it stands with the server.
    #[must_use]
    pub fn status(&self) -> &Arc<Status> {
        &self.status
    }
}

impl<R> Drop for Client<R> {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed.
            let _ = thread.join();
        }
    }
}

/// The client's thread.
struct Running<R> {
    management: Management,
    /// Shared with those who ask what is held, which nobody does in a hurry.
    session: Arc<Mutex<Session>>,
    decode: Decode<R>,
    sender: mpsc::Sender<Delivery<R>>,
    status: Arc<Status>,
    wishes: Arc<Wishes<Wish>>,
    /// The last failure that was logged: one that goes on is not news.
    told: String,
    kept: Kept,
}

/// Refusals of one response that are shown.
const MOST_SHOWN: usize = 5;

/// Nobody takes deliveries any longer: the agent ends.
struct Over;

/// Requests that may wait while responses are still read: beyond that the server has to take some first.
const MOST_WAITING: usize = 64;
/// How long a server may say nothing at all, if another could be asked. With only one, whoever has nothing to say may take its time.
const SILENT: Duration = Duration::from_secs(15);
/// How long a server may take none.
const STALLED: Duration = Duration::from_secs(60);

impl<R> Running<R> {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        self.tell_kept();
        while self.round(&mut backoff).await.is_ok() {
            if self.restore().await.is_err() {
                return;
            }
            let wait = backoff.next();
            tracing::debug!(?wait, "next attempt to reach a management server");
            if self.meanwhile(tokio::time::sleep(wait)).await.is_err() {
                return;
            }
        }
    }

    /// Tries every server and place in order, until one has answered and its stream has ended.
    async fn round(&mut self, backoff: &mut Backoff) -> Result<(), Over> {
        let variant = self.session().variant();
        for server in self.management.servers.clone() {
            for place in &server.places {
                let at = format!("{} ({}:{})", server.name, place.0, place.1);
                let error = match self.meanwhile(Stream::open(&server, place, variant)).await? {
                    Err(error) => error,
                    Ok(stream) => {
                        self.status.connected(&at);
                        let (answered, error) = self.serve(stream, &at).await?;
                        self.session().disconnected();
                        if answered {
                            self.failed(&at, &error);
                            backoff.reset();
                            return Ok(());
                        }
                        error
                    }
                };
                self.failed(&at, &error);
            }
        }
        Ok(())
    }

    fn failed(&mut self, at: &str, error: &StreamError) {
        let text = format!("{at}: {error}");
        self.status.failed(&text);
        if self.told == text {
            tracing::debug!(server = at, %error, "still no stream to the management server");
        } else {
            tracing::warn!(server = at, %error, "no stream to the management server; what is live stays");
            self.told = text;
        }
    }

    /// Speaks over one stream until it ends: whether the server ever answered, and why it ended.
    async fn serve(&mut self, mut stream: Stream, at: &str) -> Result<(bool, StreamError), Over> {
        let mut waiting: VecDeque<_> = self.session().connected(Instant::now()).into();
        let requests = stream.requests();
        let has_others = self.management.servers.iter().map(|server| server.places.len()).sum::<usize>() > 1;
        let mut answered = false;
        let mut taking = true;
        let mut stalled = tokio::time::Instant::now() + STALLED;
        let silent = tokio::time::Instant::now() + SILENT;
        loop {
            if waiting.is_empty() {
                self.keep();
            }
            let deadline = self.session().deadline();
            let (kept, restore) = (self.kept.deadline(), self.kept.restore_at());
            let release = self.kept.release_at();
            tokio::select! {
                // What is to be said is said before more is heard: to judge the next response may take a while.
                biased;
                place = requests.reserve(), if taking && !waiting.is_empty() => {
                    stalled = tokio::time::Instant::now() + STALLED;
                    match (place, waiting.pop_front()) {
                        (Ok(place), Some(request)) => place.send(request),
                        // Why, the next response tells.
                        _ => taking = false,
                    }
                }
                () = tokio::time::sleep_until(stalled), if taking && !waiting.is_empty() => {
                    return Ok((answered, StreamError::Stalled));
                }
                () = until(deadline) => waiting.extend(self.overdue().await?),
                () = until(kept) => self.keep(),
                () = until(release) => waiting.extend(self.release().await?),
                // What goes live now would not be among what this stream began with: the next one will say it.
                () = until(restore) => return Ok((answered, StreamError::Silent)),
                () = self.wishes.some(), if waiting.len() < MOST_WAITING => {
                    let wishes = self.wishes.take();
                    waiting.extend(self.follow(&wishes));
                    waiting.extend(self.restore_wanted().await?);
                }
                () = tokio::time::sleep_until(silent), if !answered && has_others => {
                    return Ok((answered, StreamError::Silent));
                }
                message = stream.next(), if waiting.len() < MOST_WAITING => match message {
                    Ok(message) => {
                        if !answered {
                            tracing::info!(server = at, "the management server answers");
                            self.told.clear();
                            answered = true;
                            self.kept.answers(at);
                        }
                        if waiting.is_empty() {
                            stalled = tokio::time::Instant::now() + STALLED;
                        }
                        match self.received(message).await? {
                            Ok(requests) => waiting.extend(requests),
                            Err(error) => return Ok((answered, error)),
                        }
                    }
                    Err(error) => return Ok((answered, error)),
                },
            }
        }
    }

    /// Has a response judged: the answers to it.
    async fn received(&mut self, message: Bytes) -> Result<Result<Vec<Bytes>, StreamError>, Over> {
        let received = self.session().received(message, Instant::now());
        let update = match received {
            Ok(update) => update,
            Err(error) if error.ends_stream() => return Ok(Err(StreamError::Garbage(error))),
            Err(error) => {
                self.status.ignored();
                tracing::warn!(%error, "ignored");
                return Ok(Ok(Vec::new()));
            }
        };
        let kind = update.ticket.kind;
        if update.resources.is_empty() && self.session().held(kind) == 0 && !update.removed.is_empty() {
            tracing::warn!(%kind, removed = update.removed.len(), "the management server removed everything of a kind");
        }
        let Update { ticket, version, resources, removed, faults } = update;
        let gone = self.kept.withhold(kind, &resources, removed.clone());
        let (mut refused, reply) = self.judge(kind, &version, &resources, gone, &faults).await?;
        refused.extend(reply.refused.iter().cloned());
        let refusals: Vec<_> = faults.iter().chain(&refused).take(MOST_SHOWN).map(ToString::to_string).collect();
        let refusal = (!refusals.is_empty()).then(|| refusals.join("; "));
        let answer = self.session().decided(&ticket, &refused, Instant::now());
        self.status.judged(kind, &version, self.session().held(kind), refusal);
        self.kept.judged(kind, resources, &removed, faults.iter().chain(&refused), &lock(&self.session));
        let requests = answer.into_iter().chain(self.follow(&reply.wishes)).collect();
        self.kept.settle(&lock(&self.session));
        Ok(Ok(requests))
    }

    /// Decodes resources and has those that are good made live: which are not, and what became of the others.
    async fn judge(
        &mut self,
        kind: ResourceKind,
        version: &str,
        resources: &[Incoming],
        removed: Vec<Name>,
        faults: &[Fault],
    ) -> Result<(Vec<Fault>, Reply), Over> {
        let mut refused = Vec::new();
        let mut changed = Vec::with_capacity(resources.len());
        for incoming in resources {
            let name = Arc::clone(&incoming.name);
            match (self.decode)(kind, &incoming.body) {
                Ok(resource) => changed.push((name, resource)),
                Err(text) => refused.push(Fault { name: Some(name), text }),
            }
        }
        let unusable = faults.iter().chain(&refused).filter_map(|fault| fault.name.clone()).collect();
        let news = News::Update { kind, version: version.to_owned(), changed, removed, refused: unusable };
        let reply = self.deliver(news).await?;
        Ok((refused, reply))
    }

    /// Says what did not come, or has expired: requests that follow from it.
    async fn overdue(&mut self) -> Result<Vec<Bytes>, Over> {
        let missing = self.session().overdue(Instant::now());
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        for it in &missing {
            self.kept.gone(it.kind, &it.name, &lock(&self.session));
            match it.kind {
                // Clients choose these names.
                ResourceKind::VirtualHost => tracing::debug!(name = %it.name, why = ?it.why, "no such virtual host"),
                kind => tracing::warn!(%kind, name = %it.name, why = ?it.why, "taken not to exist"),
            }
        }
        let reply = self.deliver(News::Missing(missing)).await?;
        Ok(self.follow(&reply.wishes))
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        lock(&self.session)
    }

    async fn deliver(&self, news: News<R>) -> Result<Reply, Over> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(Delivery { news, reply }).await.map_err(|_| Over)?;
        answer.await.map_err(|_| Over)
    }

    fn follow(&mut self, wishes: &[Wish]) -> Vec<Bytes> {
        let mut session = lock(&self.session);
        for wish in wishes {
            wish.tell(&mut session);
            if let Wish::Without(kind, name) = wish {
                self.kept.gone(*kind, name, &session);
            }
        }
        session.flush(Instant::now())
    }

    /// Waits for something else than a response. Resources may expire meanwhile.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Over> {
        tokio::pin!(future);
        loop {
            self.keep();
            let deadline = self.session().deadline();
            let (kept, restore) = (self.kept.deadline(), self.kept.restore_at());
            let release = self.kept.release_at();
            tokio::select! {
                done = &mut future => return Ok(done),
                // There is no stream: requests follow with the next one.
                () = until(deadline) => drop(self.overdue().await?),
                () = until(kept) => {}
                () = until(release) => drop(self.release().await?),
                () = until(restore) => self.restore().await?,
                () = self.wishes.some() => {
                    let wishes = self.wishes.take();
                    drop(self.follow(&wishes));
                    drop(self.restore_wanted().await?);
                }
            }
        }
    }
}

fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    // A panic of the client's thread ends the client; what it held is still true.
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
