//! Who has what the agent's own file does not: a management server, and files of resources. Each wish goes to the one it is for.

use std::io;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::app::dynamic::Event;
use crate::app::dynamic::update::Outcome;
use crate::model::management::{Keep, KnownResources, Management, Origin, Standing};
use crate::model::resource::Resource;
use crate::xds::client::Client;
use crate::xds::delivery::{Reply, Want, Wish};
use crate::xds::files::{FileWish, Files};
use crate::xds::session::Fault;
use crate::{file, protobuf};

/// See the module.
#[derive(Debug)]
pub(super) struct Sources {
    /// If one is configured.
    client: Option<Client<Resource>>,
    files: Files<Resource>,
}

impl Sources {
    /// Starts both with what is wanted of them. A server that is not configured cannot be asked: nothing may be wanted of it.
    pub(super) fn start(
        ads: Option<Management>,
        node: Bytes,
        wants: Vec<(Origin, Want)>,
        keep: Option<Keep>,
    ) -> io::Result<Self> {
        let (mut of_server, mut of_files) = (Vec::new(), Vec::new());
        for (origin, want) in wants {
            match origin {
                Origin::Server => of_server.push(want),
                Origin::File(source) => of_files.push((source, Wish::For(want))),
            }
        }
        let decode = |kind, bytes: &[u8]| protobuf::resource(kind, bytes).map_err(|refusal| refusal.to_string());
        let client = ads.map(|ads| Client::start(ads, node, &of_server, decode, keep)).transpose()?;
        let files = Files::start(file::resources)?;
        files.wish(of_files);
        Ok(Self { client, files })
    }

    /// What comes next.
    pub(super) async fn next(&mut self) -> Event {
        tokio::select! {
            delivery = next(&mut self.client) => Event::Delivery(delivery),
            finding = self.files.next() => Event::Finding(finding),
        }
    }

    /// Replies to what the server sent.
    pub(super) fn reply(&self, to: oneshot::Sender<Reply>, Outcome { refused, wishes }: Outcome) {
        let wishes = self.pass_on(wishes);
        if let Some(client) = &self.client {
            client.reply(to, Reply { refused, wishes });
        }
    }

    /// Answers what a file held.
    pub(super) fn answer(&self, to: oneshot::Sender<Vec<Fault>>, Outcome { refused, wishes }: Outcome) {
        // First what follows, so that it is not late.
        self.wish(wishes);
        // Nobody to answer: the reader has ended, and the agent is about to.
        let _ = to.send(refused);
    }

    /// Wishes something that is no answer to anything.
    pub(super) fn wish(&self, wishes: Vec<(Origin, Wish)>) {
        let of_server = self.pass_on(wishes);
        if let Some(client) = &self.client {
            client.wish(of_server);
        }
    }

    /// Reads how it stands with both.
    pub(super) fn standing(&self) -> impl Fn() -> Standing + Send + Sync + 'static {
        let status = self.client.as_ref().map(|client| std::sync::Arc::clone(client.status()));
        let files = self.files.standing();
        move || {
            let server = status.as_ref().map(|status| status.view());
            Standing { asks_server: server.is_some(), files: files(), ..server.unwrap_or_default() }
        }
    }

    /// Reads what came from either, and what did not.
    pub(super) fn known(&self) -> impl Fn() -> KnownResources + Send + Sync + 'static {
        let server = self.client.as_ref().map(Client::known);
        let files = self.files.known();
        move || {
            let mut known = server.as_ref().map(|known| known()).unwrap_or_default();
            for (kind, of_files) in files() {
                known.entry(kind).or_default().extend(of_files);
            }
            known
        }
    }

    /// Has files hear what is theirs; what is the server's.
    fn pass_on(&self, wishes: Vec<(Origin, Wish)>) -> Vec<Wish> {
        let mut of_files: Vec<FileWish> = Vec::new();
        let mut of_server = Vec::new();
        for (origin, wish) in wishes {
            match origin {
                Origin::File(source) => of_files.push((source, wish)),
                Origin::Server if self.client.is_some() => of_server.push(wish),
                Origin::Server => {
                    tracing::warn!(?wish, "needed, and no management server is configured that has it");
                }
            }
        }
        self.files.wish(of_files);
        of_server
    }
}

async fn next(client: &mut Option<Client<Resource>>) -> crate::xds::delivery::Delivery<Resource> {
    match client {
        Some(client) => client.next().await,
        None => std::future::pending().await,
    }
}
