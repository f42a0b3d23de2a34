//! What comes from a management server, or from files of resources, goes live here: deliveries become changes for the rollout, and what
//! becomes of those becomes the reply.
//!
//! [`update`] has what a response means, [`patience`] what is waited for and for how long, [`sources`] who is asked for what.

mod patience;
mod sources;
mod update;

use std::io;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use crate::app::demand::Demands;
use crate::app::live::Live;
use crate::model::config::Config;
use crate::model::management::{ConfigSource, Keep, KnownResources, Standing};
use crate::model::resource::{Resource, ResourceKind};
use crate::rollout::Rollout;
use crate::snapshot::{Applied, Change, Need};
use crate::xds::delivery::{Delivery, News, Want};
use crate::xds::files::Finding;
use crate::xds::identity;
use crate::xds::session::{Missing, Why};
use patience::Patience;
use sources::Sources;
use update::{Limits, Outcome, Update, want};

/// How long a server has, from its first answer on, to send what it had sent to an agent before.
const SETTLE: Duration = Duration::from_mins(1);

/// Brings what does not stand in the agent's own file.
#[derive(Debug)]
pub(super) struct Dynamic {
    sources: Sources,
    limits: Limits,
    patience: Patience,
}

/// Something to be made live.
#[derive(Debug)]
pub(super) enum Event {
    /// From the management server.
    Delivery(Delivery<Resource>),
    /// From a file.
    Finding(Finding<Resource>),
    /// Time has passed.
    Late,
}

impl Dynamic {
    /// Starts asking, if the configuration has something to be asked for. `wanted` is what the file's own resources need.
    pub(super) fn start(config: &Config, wanted: Vec<(Need, ConfigSource)>) -> io::Result<Option<Self>> {
        if config.dynamic.is_none() && wanted.is_empty() {
            return Ok(None);
        }
        let dynamic = config.dynamic.clone().unwrap_or_default();
        let all = [(ResourceKind::Cluster, dynamic.clusters), (ResourceKind::Listener, dynamic.listeners)];
        let mut wants = Vec::new();
        let mut patience = Patience::default();
        for (kind, source) in all {
            // On demand, clusters are asked for by name.
            let by_name = kind == ResourceKind::Cluster && config.mesh.on_demand.is_some();
            if let Some(ConfigSource { origin, initial_fetch_timeout }) = source.filter(|_| !by_name) {
                wants.push((origin, Want::All(kind)));
                patience.await_first(kind, initial_fetch_timeout);
            }
        }
        patience.look_soon();
        wants.extend(wanted.into_iter().map(want));
        // What is asked for on demand is not asked for again before somebody needs it.
        let settle = SETTLE.max(config.mesh.on_demand.unwrap_or_default());
        let keep = config.mesh.last_good.clone().map(|folder| Keep { folder, settle });
        let sources = Sources::start(dynamic.ads, identity::encode(&config.node), wants, keep)?;
        Ok(Some(Self { sources, limits: Limits::of(config), patience }))
    }

    /// Whether the start is still to wait: for a first response, or for what has come and is not live yet.
    pub(super) fn is_warming(&self, rollout: &Rollout) -> bool {
        self.patience.is_waiting(rollout.builder().waiting().next().is_some())
    }

    /// What happens next.
    pub(super) async fn next(&mut self) -> Event {
        let late = self.patience.deadline();
        tokio::select! {
            event = self.sources.next() => event,
            () = tokio::time::sleep_until(late.unwrap_or_else(Instant::now)), if late.is_some() => Event::Late,
        }
    }

    /// Makes live what can be, and replies.
    pub(super) fn take(&mut self, event: Event, live: &mut Live) {
        match event {
            Event::Delivery(Delivery { news, reply }) => {
                let outcome = self.news(news, live);
                self.patience.changed();
                self.sources.reply(reply, outcome);
            }
            Event::Finding(Finding { news, refused }) => {
                let outcome = self.news(news, live);
                self.patience.changed();
                self.sources.answer(refused, outcome);
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

    fn follow(&mut self, applied: Applied) {
        self.sources.wish(update::follow(applied, &[]).wishes);
    }

    fn news(&mut self, news: News<Resource>, live: &mut Live) -> Outcome {
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

/// Reads how it stands with the management server and with files.
pub(super) fn standing(
    dynamic: &Option<Dynamic>,
    demands: &Option<Demands>,
) -> Box<dyn Fn() -> Option<Standing> + Send + Sync> {
    let read = dynamic.as_ref().map(|dynamic| dynamic.sources.standing());
    let demands = demands.as_ref().filter(|demands| demands.is_for_all()).map(Demands::standing);
    Box::new(move || {
        let on_demand = demands.as_ref().map(|standing| *standing.lock().unwrap_or_else(PoisonError::into_inner));
        read.as_ref().map(|read| Standing { on_demand, ..read() })
    })
}

/// Reads what came and is live, and what was refused or has not come.
pub(super) fn known(dynamic: &Option<Dynamic>) -> Box<dyn Fn() -> KnownResources + Send + Sync> {
    match dynamic {
        Some(dynamic) => Box::new(dynamic.sources.known()),
        None => Box::new(KnownResources::default),
    }
}

/// Something became live, or is not wanted any longer, without anybody having sent anything: they may have to hear.
pub(super) fn follow(dynamic: &mut Option<Dynamic>, applied: Applied) {
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
