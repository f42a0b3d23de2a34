//! Resources from files of their own (`path_config_source`), which are watched.
//!
//! A file is a response that its next version supersedes as a whole, so it is treated as one of a server: what is wanted of it, what
//! of that is new, and one change judged at a time. It has a thread of its own, since to read and decode may take a while and a file
//! system may hang. A file that cannot be read, or a resource that is wrong, leaves what is live.
//!
//! All files that changed at once (a folder behind a link, say) are read in the order in which kinds go live, and clusters
//! that are gone go when whatever follows from the rest is live too.

mod contents;
mod shared;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use crate::model::management::{FileSource, FileStanding, KnownResources};
use crate::model::resource::{Contents, ResourceKind};
use crate::xds::delivery::{News, Want, Wish};
use crate::xds::session::{Fault, Missing, Why};
use crate::xds::wishes::Wishes;
use contents::File;
use shared::Shared;
use watch::Watcher;

/// Reads a file, or says in a line what is wrong with it.
pub type Read<R> = fn(ResourceKind, &Path) -> Result<Contents<R>, String>;

/// A wish, and the file that is to fulfil it.
pub type FileWish = (Arc<FileSource>, Wish);

/// Something that changed. The reader goes on when it is told which resources cannot go live.
#[derive(Debug)]
pub struct Finding<R> {
    /// What changed.
    pub news: News<R>,
    /// Where the answer goes.
    pub refused: oneshot::Sender<Vec<Fault>>,
}

/// A reader that runs until this is dropped.
#[derive(Debug)]
pub struct Files<R> {
    findings: mpsc::Receiver<Finding<R>>,
    wishes: Arc<Wishes<FileWish>>,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl<R: Clone + PartialEq + Send + 'static> Files<R> {
    /// Starts one that wants nothing yet.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start(read: Read<R>) -> io::Result<Self> {
        let (sender, findings) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel();
        let (wishes, shared) = (Arc::new(Wishes::default()), Arc::new(Shared::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (wished, told) = (Arc::clone(&wishes), Arc::clone(&shared));
        let thread = thread::Builder::new().name("files".to_owned()).spawn(move || {
            runtime.block_on(async {
                let running = Running {
                    read,
                    sender,
                    wishes: wished,
                    shared: told,
                    files: BTreeMap::new(),
                    watcher: Watcher::default(),
                };
                tokio::select! {
                    // Ends with an answer or with the sender's end.
                    _ = stopped => {}
                    _ = running.run() => {}
                }
            });
        })?;
        Ok(Self { findings, wishes, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// What changes next. It must be answered before there is more.
    pub async fn next(&mut self) -> Finding<R> {
        match self.findings.recv().await {
            Some(finding) => finding,
            None => std::future::pending().await,
        }
    }

    /// Wants something of files, or does not any longer. What follows from a finding is wished before that is answered.
    pub fn wish(&self, wishes: Vec<FileWish>) {
        if !wishes.is_empty() {
            self.wishes.add(wishes);
        }
    }

    /// Reads how it stands with each file.
    pub fn standing(&self) -> impl Fn() -> Vec<FileStanding> + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.standing()
    }

    /// Reads what is live, in which version and since when, and what is refused or waited for.
    pub fn known(&self) -> impl Fn() -> KnownResources + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.known()
    }
}

impl<R> Drop for Files<R> {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed.
            let _ = thread.join();
        }
    }
}

/// A file, for what it is to hold. Kinds are in the order in which they go live.
type Key = (ResourceKind, Arc<FileSource>);

/// The reader's thread.
struct Running<R> {
    read: Read<R>,
    sender: mpsc::Sender<Finding<R>>,
    wishes: Arc<Wishes<FileWish>>,
    shared: Arc<Shared>,
    files: BTreeMap<Key, File<R>>,
    watcher: Watcher,
}

/// Nobody takes findings any longer: the agent ends.
struct Over;

impl<R: Clone + PartialEq> Running<R> {
    async fn run(mut self) -> Result<(), Over> {
        loop {
            self.take_wishes();
            if let Some((key, file)) = self.files.iter_mut().find(|(_, file)| file.is_unread) {
                let (kind, key) = (key.0, key.clone());
                let found = (self.read)(kind, &key.1.path);
                if let Some(news) = file.take(kind, found) {
                    let refused = self.deliver(news).await?;
                    self.judged(&key, &refused);
                }
                self.tell(&key);
                continue;
            }
            if let Some((key, file)) = self.files.iter_mut().find(|(_, file)| file.has_gone()) {
                let (key, removed) = (key.clone(), file.let_go());
                tracing::info!(kind = %key.0, file = %key.1.path.display(), ?removed, "no longer in the file");
                self.deliver(removal(key.0, removed)).await?;
                self.tell(&key);
                continue;
            }
            let missing = self.overdue();
            if !missing.is_empty() {
                self.deliver(News::Missing(missing)).await?;
                continue;
            }
            let deadline = self.files.values().filter_map(File::deadline).min();
            tokio::select! {
                () = self.wishes.some() => {}
                changed = self.watcher.changed() => {
                    for key in changed {
                        if let Some(file) = self.files.get_mut(&key) {
                            file.is_unread = true;
                        }
                    }
                }
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => {}
            }
        }
    }

    fn take_wishes(&mut self) {
        let mut changed = BTreeSet::new();
        for (source, wish) in self.wishes.take() {
            match wish {
                Wish::For(Want::All(kind)) => self.file((kind, source)).want_all(),
                Wish::For(Want::One { kind, name, patience }) => self.file((kind, source)).want(name, patience),
                Wish::Without(kind, name) => {
                    let key = (kind, source);
                    let Some(file) = self.files.get_mut(&key) else { continue };
                    file.forget(&name);
                    changed.insert(key);
                }
            }
        }
        for key in changed {
            if self.files.get(&key).is_some_and(|file| !file.is_wanted()) {
                self.files.remove(&key);
                self.watcher.forget(&key);
                self.shared.forget(&key);
            }
            self.tell(&key);
        }
    }

    /// The file of that name, which is watched from now on.
    fn file(&mut self, key: Key) -> &mut File<R> {
        let Self { files, watcher, .. } = self;
        files.entry(key).or_insert_with_key(|key| {
            // Before it is read: what changes meanwhile is noticed.
            let unwatched = watcher.watch(key).err();
            if let Some(why) = &unwatched {
                tracing::warn!(file = %key.1.path.display(), %why, "changes of this file are not noticed");
            }
            File::new(unwatched)
        })
    }

    async fn deliver(&self, news: News<R>) -> Result<Vec<Fault>, Over> {
        let (refused, answer) = oneshot::channel();
        self.sender.send(Finding { news, refused }).await.map_err(|_| Over)?;
        answer.await.map_err(|_| Over)
    }

    fn judged(&mut self, key: &Key, refused: &[Fault]) {
        if let Some(file) = self.files.get_mut(key) {
            file.judged(refused);
        }
    }

    /// Has others see how it stands with a file.
    fn tell(&self, key: &Key) {
        if let Some(file) = self.files.get(key) {
            self.shared.tell(key, file);
        }
    }

    /// Resources that did not come in time.
    fn overdue(&mut self) -> Vec<Missing> {
        let now = Instant::now();
        let mut missing = Vec::new();
        for ((kind, source), file) in &mut self.files {
            for name in file.overdue(now) {
                tracing::warn!(%kind, %name, file = %source.path.display(), "not in the file; taken not to exist");
                missing.push(Missing { kind: *kind, name, why: Why::NeverCame });
            }
        }
        missing
    }
}

fn removal<R>(kind: ResourceKind, removed: Vec<Arc<str>>) -> News<R> {
    News::Update { kind, version: String::new(), changed: Vec::new(), removed, refused: Vec::new() }
}
