//! What comes from a management server goes live here: its deliveries become changes for the rollout, and what becomes of those
//! becomes the reply.
//!
//! [`update`] has what a response means, [`patience`] what is waited for and for how long.

mod patience;
mod update;

use std::io;
use std::sync::{Arc, PoisonError};

use tokio::time::Instant;

use crate::app::demand::Demands;
use crate::app::live::Live;
use crate::model::config::Config;
use crate::model::management::{ConfigSource, KnownResources, Standing};
use crate::model::resource::{Resource, ResourceKind};
use crate::protobuf;
use crate::rollout::Rollout;
use crate::snapshot::{Applied, Change, Need};
use crate::xds::client::Client;
use crate::xds::delivery::{Delivery, News, Reply, Want};
use crate::xds::identity;
use crate::xds::session::{Missing, Why};
use patience::Patience;
use update::{Limits, Update, want};

/// Brings what a management server sends.
#[derive(Debug)]
pub(super) struct Dynamic {
    client: Client<Resource>,
    limits: Limits,
    patience: Patience,
}

/// Something to be made live.
#[derive(Debug)]
pub(super) enum Event {
    Delivery(Delivery<Resource>),
    /// Time has passed.
    Late,
}

impl Dynamic {
    /// Starts the client, if the configuration has something to be asked for. `wanted` is what the file's own resources need.
    pub(super) fn start(config: &Config, wanted: Vec<(Need, ConfigSource)>) -> io::Result<Option<Self>> {
        let Some(dynamic) = &config.dynamic else { return Ok(None) };
        let Some(ads) = &dynamic.ads else { return Ok(None) };
        let all = [(ResourceKind::Cluster, &dynamic.clusters), (ResourceKind::Listener, &dynamic.listeners)];
        let mut wants = Vec::new();
        let mut patience = Patience::default();
        for (kind, source) in all {
            // On demand, clusters are asked for by name.
            let by_name = kind == ResourceKind::Cluster && config.mesh.on_demand.is_some();
            if let Some(ConfigSource { initial_fetch_timeout }) = source.as_ref().filter(|_| !by_name) {
                wants.push(Want::All(kind));
                patience.await_first(kind, *initial_fetch_timeout);
            }
        }
        wants.extend(wanted.into_iter().map(want));
        let decode = |kind, bytes: &[u8]| protobuf::resource(kind, bytes).map_err(|refusal| refusal.to_string());
        let client = Client::start(ads.clone(), identity::encode(&config.node), &wants, decode)?;
        Ok(Some(Self { client, limits: Limits::of(config), patience }))
    }

    /// Whether the start is still to wait: for a first response, or for what has come and is not live yet.
    pub(super) fn is_warming(&self, rollout: &Rollout) -> bool {
        self.patience.is_waiting(rollout.builder().waiting().next().is_some())
    }

    /// What happens next.
    pub(super) async fn next(&mut self) -> Event {
        let late = self.patience.deadline();
        tokio::select! {
            delivery = self.client.next() => Event::Delivery(delivery),
            () = tokio::time::sleep_until(late.unwrap_or_else(Instant::now)), if late.is_some() => Event::Late,
        }
    }

    /// Makes live what can be, and replies.
    pub(super) fn take(&mut self, event: Event, live: &mut Live) {
        match event {
            Event::Delivery(Delivery { news, reply }) => {
                let answer = self.news(news, live);
                self.patience.changed();
                self.client.reply(reply, answer);
            }
            Event::Late => {
                let late = self.patience.late();
                if !late.is_empty() {
                    self.follow(live.change(late.into_iter().map(Change::GiveUp).collect()));
                }
                self.patience.look(&live.rollout);
            }
        }
    }

    fn follow(&self, applied: Applied) {
        self.client.wish(update::follow(applied, &[]).wishes);
    }

    fn news(&mut self, news: News<Resource>, live: &mut Live) -> Reply {
        match news {
            News::Update { kind, changed, removed, refused, version } => {
                tracing::debug!(%kind, version, changed = changed.len(), removed = removed.len(), "update");
                self.patience.heard(kind);
                self.limits.update(Update { kind, changed, removed, refused }, live)
            }
            News::Missing(missing) => {
                for it in missing.iter().filter(|it| it.why == Why::Expired) {
                    live.forget(it.kind, &it.name);
                }
                update::follow(live.change(missing.into_iter().map(given_up).collect()), &[])
            }
        }
    }
}

/// Reads how it stands with the management server.
pub(super) fn standing(
    dynamic: &Option<Dynamic>,
    demands: &Option<Demands>,
) -> Box<dyn Fn() -> Option<Standing> + Send + Sync> {
    let status = dynamic.as_ref().map(|dynamic| Arc::clone(dynamic.client.status()));
    let demands = demands.as_ref().map(Demands::standing);
    Box::new(move || {
        let on_demand = demands.as_ref().map(|standing| *standing.lock().unwrap_or_else(PoisonError::into_inner));
        status.as_ref().map(|status| Standing { on_demand, ..status.view() })
    })
}

/// Reads what the management server sent.
pub(super) fn known(dynamic: &Option<Dynamic>) -> Box<dyn Fn() -> KnownResources + Send + Sync> {
    match dynamic {
        Some(dynamic) => Box::new(dynamic.client.known()),
        None => Box::new(KnownResources::default),
    }
}

/// Something became live, or is not wanted any longer, without the server having said anything: it may have to hear.
pub(super) fn follow(dynamic: &Option<Dynamic>, applied: Applied) {
    if let Some(dynamic) = dynamic {
        dynamic.follow(applied);
    }
}

/// What happens next, if anything can.
pub(super) async fn next(dynamic: &mut Option<Dynamic>) -> Event {
    match dynamic {
        Some(dynamic) => dynamic.next().await,
        None => std::future::pending().await,
    }
}

fn given_up(Missing { kind, name, why }: Missing) -> Change {
    match why {
        Why::NeverCame => Change::GiveUp(Need { kind, name }),
        Why::Expired => Change::Remove(kind, name),
    }
}
