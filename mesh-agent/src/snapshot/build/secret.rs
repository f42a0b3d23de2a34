//! Secrets that come by themselves, and the TLS of clusters that is made of them.
//!
//! A secret that changes gives each live cluster that asks for it a new client: connections that are opened from then on are opened
//! with it. It costs those clusters and no others. One that cannot be used by all who ask for it is refused, and the last good one stays.

use std::sync::Arc;

use crate::identity::{Client, Material};
use crate::model::cluster::Cluster;
use crate::model::management::ConfigSource;
use crate::model::name::ClusterName;
use crate::model::resource::ResourceKind;
use crate::model::tls::{Kept, Secret, SecretContent, SecretName, UpstreamTls, Validation};
use crate::snapshot::Rejected;
use crate::snapshot::build::{Builder, Need, Round};

/// A secret that some cluster asks for by name.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) source: ConfigSource,
    /// As last heard.
    held: Option<(Arc<Secret>, Material)>,
    /// Clusters, live or warming, that ask for it; one may stand here more than once.
    users: Vec<ClusterName>,
}

impl Builder {
    pub(super) fn put_secret(&mut self, secret: &Arc<Secret>, round: &mut Round) {
        // What no cluster asked for would never be used; it is sent again to who asks.
        let Some(asked) = self.secrets.get(&secret.name) else { return };
        if asked.held.as_ref().is_some_and(|(before, _)| before == secret) {
            return;
        }
        let mut users = asked.users.clone();
        users.sort_unstable();
        users.dedup();
        let material = Material::new(&secret.content).map_err(|error| error.to_string());
        let checked = material.and_then(|material| self.check_use(&users, secret).map(|()| material));
        let material = match checked {
            Ok(material) => material,
            Err(what) => return round.rejected.push(Rejected::Secret { name: Arc::clone(&secret.name), what }),
        };
        if let Some(asked) = self.secrets.get_mut(&secret.name) {
            asked.held = Some((Arc::clone(secret), material));
        }
        for user in users {
            let Some(live) = self.live_cluster(&user).map(Arc::clone) else { continue };
            if secrets(&live.config).any(|it| it.name == secret.name) {
                let tls = self.client(&live.config);
                self.set_live(Arc::clone(&live.config), Arc::clone(&live.endpoints), tls, round);
            }
        }
        let need = Need { kind: ResourceKind::Secret, name: Arc::clone(&secret.name) };
        round.ready.extend(self.waiting.arrived(&need));
    }

    /// Whether everybody who asks for it can use it.
    fn check_use(&self, users: &[ClusterName], secret: &Secret) -> Result<(), String> {
        for user in users {
            let live = self.live_cluster(user).map(|live| &live.config);
            for tls in self.warming.get(user).into_iter().chain(live).filter_map(|config| config.tls.as_ref()) {
                if let Some(what) = misfit(tls, secret) {
                    return Err(format!("cluster {:?} {what}", user.as_str()));
                }
            }
        }
        Ok(())
    }

    /// A secret that is there and that `config` could not use, and why not.
    pub(super) fn unfit_secret(&self, config: &Cluster) -> Option<(Arc<str>, &'static str)> {
        let tls = config.tls.as_ref()?;
        tls.secrets().find_map(|SecretName { name, .. }| {
            let (secret, _) = self.secrets.get(name)?.held.as_ref()?;
            misfit(tls, secret).map(|what| (Arc::clone(name), what))
        })
    }

    /// The first secret that a cluster has to wait for.
    pub(super) fn missing_secret(&self, config: &Cluster) -> Option<Need> {
        secrets(config).find_map(|SecretName { name, .. }| {
            let need = Need { kind: ResourceKind::Secret, name: Arc::clone(name) };
            (self.secrets.get(name).is_none_or(|asked| asked.held.is_none()) && !self.waiting.has_given_up(&need))
                .then_some(need)
        })
    }

    /// Whether this is a secret that was asked for and has not come.
    pub(super) fn lacks_secret(&self, need: &Need) -> bool {
        need.kind == ResourceKind::Secret && self.secrets.get(&need.name).is_some_and(|asked| asked.held.is_none())
    }

    /// How TLS is spoken to a cluster, with the secrets that are there.
    pub(super) fn client(&self, config: &Cluster) -> Option<Arc<Client>> {
        let held = |name: &SecretName| {
            let (_, material) = self.secrets.get(&name.name)?.held.as_ref()?;
            Some(material)
        };
        config.tls.as_ref().map(|tls| Arc::new(Client::new(tls, held)))
    }

    /// How TLS is spoken to `config`: by the client that is live, if nothing is new about it.
    pub(super) fn kept_client(&self, config: &Cluster) -> Option<Arc<Client>> {
        let live = self.live_cluster(&config.name).filter(|live| live.config.tls == config.tls);
        match live {
            Some(live) => live.tls.clone(),
            None => self.client(config),
        }
    }

    /// A secret that another cluster has by that name from another source. There is one of each name here.
    pub(super) fn secret_elsewhere(&self, config: &Cluster) -> Option<Arc<str>> {
        let elsewhere = |it: &&SecretName| {
            self.secrets.get(&it.name).is_some_and(|asked| {
                asked.source.origin != it.source.origin && asked.users.iter().any(|user| *user != config.name)
            })
        };
        secrets(config).find(elsewhere).map(|it| Arc::clone(&it.name))
    }

    pub(super) fn use_secrets(&mut self, config: &Cluster, round: &mut Round) {
        for SecretName { name, source } in secrets(config) {
            let need = Need { kind: ResourceKind::Secret, name: Arc::clone(name) };
            let before = self.secrets.get(name).map(|asked| asked.source.origin.clone());
            round.touched.entry(need).or_insert(before);
            let new = || Asked { source: source.clone(), held: None, users: Vec::new() };
            let asked = self.secrets.entry(Arc::clone(name)).or_insert_with(new);
            asked.users.push(config.name.clone());
            // What has come from elsewhere serves until the new source has something.
            asked.source = source.clone();
        }
    }

    pub(super) fn leave_secrets(&mut self, config: &Cluster, round: &mut Round) {
        for SecretName { name, .. } in secrets(config) {
            let Some(asked) = self.secrets.get_mut(name) else { continue };
            if let Some(index) = asked.users.iter().position(|user| *user == config.name) {
                asked.users.swap_remove(index);
            }
            if asked.users.is_empty() {
                let need = Need { kind: ResourceKind::Secret, name: Arc::clone(name) };
                let before = self.secrets.remove(name).map(|asked| asked.source.origin);
                self.waiting.forget(&need);
                round.touched.entry(need).or_insert(before);
            }
        }
    }
}

/// What a cluster with this TLS does that `secret` is not for. What is said of one validation context when it is read is said here of two
/// that become one.
fn misfit(tls: &UpstreamTls, secret: &Secret) -> Option<&'static str> {
    let is_asked_for = |by: Option<&SecretName>| by.is_some_and(|by| by.name == secret.name);
    let more = match &secret.content {
        SecretContent::Certificate(_) => {
            return is_asked_for(tls.trust.secret.as_ref()).then_some("asks for it as validation_context");
        }
        SecretContent::Validation(_) if is_asked_for(own(tls)) => return Some("asks for it as tls_certificate"),
        SecretContent::Validation(more) => more,
    };
    let says = |it: &Validation| it.trusted.is_some() || !it.names.is_empty();
    let here = &tls.trust.here;
    let is_contradicted = (more.accepts_anybody && (says(here) || tls.by_sni)) || (here.accepts_anybody && says(more));
    (is_asked_for(tls.trust.secret.as_ref()) && is_contradicted)
        .then_some("says otherwise: with ACCEPT_UNTRUSTED nobody looks at trusted_ca, nor at names")
}

fn secrets(config: &Cluster) -> impl Iterator<Item = &SecretName> {
    config.tls.iter().flat_map(|tls| tls.secrets())
}

fn own(tls: &UpstreamTls) -> Option<&SecretName> {
    match &tls.identity {
        Some(Kept::Secret(name)) => Some(name),
        Some(Kept::Here(_)) | None => None,
    }
}
