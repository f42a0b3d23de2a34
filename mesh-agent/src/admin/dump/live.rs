//! What is live, kind by kind: what stands in the file is static; what a management server sent is dynamic, and has a version.
//!
//! What it sent and is not live waits for what it refers to (Envoy: warming). Of that there is the name, the version and the time.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::admin::dump::assignment::in_use;
use crate::admin::dump::object::{Object, timestamp};
use crate::admin::dump::route::route_config;
use crate::admin::dump::{Live, admin};
use crate::model::cluster::Discovery;
use crate::model::filter::{NetworkFilter, RouteSource};
use crate::model::management::{Known, Refused};
use crate::model::resource::ResourceKind as Kind;

impl Live {
    pub(super) fn clusters(&self) -> Value {
        let written: HashSet<_> = self.config.clusters.iter().map(|it| it.name.as_str()).collect();
        let (fixed, sent) = self.told_apart(Kind::Cluster, &written);
        let fixed: Vec<_> = fixed.into_iter().map(|cluster| json!({ "cluster": cluster })).collect();
        let active = |it: &Sent| self.stamped(Kind::Cluster, &it.name, it.state("cluster"));
        self.dump("ClustersConfigDump", Kind::Cluster)
            .list("static_clusters", &fixed, Value::clone)
            .list("dynamic_active_clusters", &sent.active, active)
            .list("dynamic_warming_clusters", &sent.warming, active)
            .done()
    }

    pub(super) fn listeners(&self) -> Value {
        let tcp = self.config.listeners.iter().map(|it| it.name.as_str());
        let written = tcp.chain(self.config.udp_listeners.iter().map(|it| it.name.as_str())).collect();
        let (fixed, sent) = self.told_apart(Kind::Listener, &written);
        let fixed: Vec<_> = fixed.into_iter().map(|listener| json!({ "listener": listener })).collect();
        let in_state = |state: &'static str| {
            move |it: &Sent| {
                let updated = self.updated(Kind::Listener, &it.name);
                let listener = it.state("listener").maybe("last_updated", updated).done();
                self.judged(Kind::Listener, &it.name, Object::default().set("name", &*it.name).set(state, listener))
            }
        };
        let active = sent.active.iter().map(in_state("active_state"));
        let warming = sent.warming.iter().map(in_state("warming_state"));
        let refused = self.only_refused(Kind::Listener);
        let refused = refused.map(|name| self.judged(Kind::Listener, name, Object::default().set("name", name)));
        let dynamic: Vec<_> = active.chain(warming).chain(refused).collect();
        self.dump("ListenersConfigDump", Kind::Listener)
            .list("static_listeners", &fixed, Value::clone)
            .list("dynamic_listeners", &dynamic, Value::clone)
            .done()
    }

    pub(super) fn routes(&self) -> Value {
        let chains =
            self.snapshot.listeners().iter().flat_map(|it| it.config.chains.iter().chain(&it.config.default_chain));
        let inline = chains.filter_map(|chain| match &chain.filter {
            NetworkFilter::Http(manager) => match &manager.routes {
                RouteSource::Inline(routes) => Some(json!({ "route_config": any(Kind::Route, route_config(routes)) })),
                RouteSource::Discovered(_) | RouteSource::Scoped(_) => None,
            },
            NetworkFilter::Tcp(_) => None,
        });
        let sent = self.entries(Kind::Route, "route_config");
        Object::typed(&admin("RoutesConfigDump"))
            .list("static_route_configs", &inline.collect::<Vec<_>>(), Value::clone)
            .list("dynamic_route_configs", &sent, Value::clone)
            .done()
    }

    /// Scopes that came by themselves, if any did.
    pub(super) fn scopes(&self) -> Option<Value> {
        let entry = |(name, scope)| {
            let sent = self.sent(Kind::ScopedRoute, name, json!([any(Kind::ScopedRoute, scope)]));
            self.stamped(Kind::ScopedRoute, name, sent.state("scoped_route_configs"))
        };
        let scopes: Vec<_> = self.resources(Kind::ScopedRoute).map(entry).collect();
        let dump = || {
            Object::typed(&admin("ScopedRoutesConfigDump"))
                .list("dynamic_scoped_route_configs", &scopes, Value::clone)
                .done()
        };
        (!scopes.is_empty()).then(dump)
    }

    /// Filters that came by themselves, if any did.
    pub(super) fn extensions(&self) -> Option<Value> {
        let filters = self.entries(Kind::Extension, "ecds_filter");
        let dump = || Object::typed(&admin("EcdsConfigDump")).list("ecds_filters", &filters, Value::clone).done();
        (!filters.is_empty()).then(dump)
    }

    pub(super) fn endpoints(&self) -> Value {
        let own = self.snapshot.clusters().filter(|it| !matches!(it.config.discovery, Discovery::Eds(_)));
        let own = own.map(|it| any(Kind::Endpoints, in_use(it.name().as_str(), &it.endpoints)));
        let fixed: Vec<_> = own.map(|config| json!({ "endpoint_config": config })).collect();
        let sent = self.entries(Kind::Endpoints, "endpoint_config");
        Object::typed(&admin("EndpointsConfigDump"))
            .list("static_endpoint_configs", &fixed, Value::clone)
            .list("dynamic_endpoint_configs", &sent, Value::clone)
            .done()
    }

    /// Those that are live, of a kind of which none stands in the file by itself.
    fn entries(&self, kind: Kind, key: &str) -> Vec<Value> {
        let entry = |(name, resource)| {
            let sent = self.sent(kind, name, any(kind, resource));
            self.stamped(kind, name, sent.state(key))
        };
        self.resources(kind).map(entry).collect()
    }

    /// A dump that begins with the version of the last response.
    fn dump(&self, message: &str, kind: Kind) -> Object {
        let version = self.standing.kinds.get(&kind).map_or("", |it| &it.version);
        Object::typed(&admin(message)).text("version_info", version)
    }

    /// Entries whose name is `written` in the file, and the others, to which those are added that are not live.
    fn told_apart(&self, kind: Kind, written: &HashSet<&str>) -> (Vec<Value>, Dynamic) {
        let (mut fixed, mut active, mut live) = (Vec::new(), Vec::new(), HashSet::new());
        for (name, resource) in self.resources(kind) {
            let resource = any(kind, resource);
            if written.contains(name) {
                fixed.push(resource);
            } else {
                live.insert(name.to_owned());
                active.push(self.sent(kind, name, resource));
            }
        }
        let accepted = self.known.get(&kind).into_iter().flatten().filter(|(_, known)| known.accepted.is_some());
        let waiting = accepted.filter(|(name, _)| !live.contains(&***name));
        let mut warming: Vec<_> =
            waiting.map(|(name, _)| self.sent(kind, name, any(kind, json!({ "name": &**name })))).collect();
        warming.sort_by(|a, b| a.name.cmp(&b.name));
        (fixed, Dynamic { active, warming })
    }

    fn sent(&self, kind: Kind, name: &str, resource: Value) -> Sent {
        let accepted = self.known(kind, name).and_then(|known| known.accepted.as_ref());
        let version = accepted.map(|it| it.version.to_string()).unwrap_or_default();
        Sent { name: name.to_owned(), version, resource }
    }

    /// An entry with when it was updated and how it was judged.
    fn stamped(&self, kind: Kind, name: &str, entry: Object) -> Value {
        self.judged(kind, name, entry.maybe("last_updated", self.updated(kind, name)))
    }

    /// An entry with what became of the last update: why it was refused, if it was.
    fn judged(&self, kind: Kind, name: &str, entry: Object) -> Value {
        let Some(known) = self.known(kind, name) else { return entry.done() };
        match &known.refused {
            Some(refused) => entry.set("client_status", "NACKED").set("error_state", failure(refused)).done(),
            None => entry.set("client_status", "ACKED").done(),
        }
    }

    /// Names of those of which none was ever accepted.
    fn only_refused(&self, kind: Kind) -> impl Iterator<Item = &str> {
        let all = self.known.get(&kind).into_iter().flatten();
        let refused = all.filter(|(_, known)| known.accepted.is_none() && known.refused.is_some());
        let mut names: Vec<_> = refused.map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names.into_iter()
    }

    fn updated(&self, kind: Kind, name: &str) -> Option<String> {
        Some(timestamp(self.known(kind, name)?.accepted.as_ref()?.at))
    }

    fn known(&self, kind: Kind, name: &str) -> Option<&Known> {
        self.known.get(&kind)?.get(name)
    }
}

/// What a management server sent of one kind.
struct Dynamic {
    active: Vec<Sent>,
    warming: Vec<Sent>,
}

/// One of its resources.
struct Sent {
    name: String,
    version: String,
    resource: Value,
}

impl Sent {
    /// It and its version, the resource under a key of its own.
    fn state(&self, key: &str) -> Object {
        Object::default().text("version_info", &self.version).set(key, self.resource.clone())
    }
}

/// `envoy.admin.v3.UpdateFailureState`.
fn failure(refused: &Refused) -> Value {
    let object = Object::default().set("last_update_attempt", timestamp(refused.at));
    object.text("details", &refused.reason).text("version_info", &refused.version).done()
}

fn any(kind: Kind, resource: Value) -> Value {
    Object::any(kind.message(), resource)
}
