//! What is live of a kind, each as its own message.

use std::iter;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::admin::dump::Live;
use crate::admin::dump::assignment::in_use;
use crate::admin::dump::cluster::cluster;
use crate::admin::dump::http::{router, scope};
use crate::admin::dump::listener::{listener, udp_listener};
use crate::admin::dump::rbac::rbac;
use crate::admin::dump::route::route_config;
use crate::model::cluster::Discovery;
use crate::model::extension::{Extension, Filter};
use crate::model::resource::ResourceKind as Kind;

impl Live {
    /// Names and messages: those of the file too, as far as they are resources of their own.
    pub(in crate::admin) fn resources(&self, kind: Kind) -> Box<dyn Iterator<Item = (&str, Value)> + '_> {
        match kind {
            Kind::Cluster => Box::new(self.snapshot.clusters().map(|it| (it.name().as_str(), cluster(&it.config)))),
            Kind::Endpoints => Box::new(self.snapshot.clusters().filter_map(|it| match &it.config.discovery {
                Discovery::Eds(eds) => Some((&*eds.service, in_use(&eds.service, &it.endpoints))),
                _ => None,
            })),
            Kind::Extension => Box::new(self.snapshot.extensions().map(|it| (&*it.name, extension(it)))),
            Kind::Listener => {
                let tcp = self.snapshot.listeners().iter();
                let tcp = tcp.map(|it| (it.config.name.as_str(), listener(&it.config)));
                let udp = self.snapshot.udp_listeners().iter();
                Box::new(tcp.chain(udp.map(|it| (it.config.name.as_str(), udp_listener(&it.config)))))
            }
            Kind::Route => {
                let tables = self.snapshot.routes();
                Box::new(tables.map(|it| (it.config.name.as_str(), route_config(&it.config))))
            }
            Kind::ScopedRoute => Box::new(self.snapshot.scopes().map(|it| (&*it.name, scope(it)))),
            Kind::Secret | Kind::VirtualHost => Box::new(iter::empty()),
        }
    }
}

fn extension(it: &Arc<Extension>) -> Value {
    let filter = match &it.filter {
        Filter::Router(filter) => router(filter),
        Filter::Rules(rules) => rbac(rules),
    };
    json!({ "name": &*it.name, "typed_config": filter })
}
